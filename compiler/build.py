"""One compile, whoever asks for it: a model goes through the stages, and `Build` holds what each of them made.

    import -> passes -> lower -> plan -> generate

The library's files appear whole and together, or not at all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..failures import failing_in, nodes_named
from .built import Build
from .codegen.generators import generator_for, is_folder
from .inputs.requests import request_of
from .library.naming import identifier
from .library.signature import make_signature
from .memory_limit import excess, memory_limit
from .options import CompileOptions
from .process.failures import failures_named
from .process.places import check_folder, check_model, check_output, make_folders, output_errors, publish
from .process.version import version
from .process.work_folder import work_folder
from .process.workers import started

if TYPE_CHECKING:
    from ..frontends import ImportedModel, OpenedModel
    from ..schedules.templates.template import Choose
    from ..targets import Target
    from .codegen.generator import CodeGenerator
    from .emission.glue import Example
    from .pipeline import ChoosePasses
    from .process.progress import ProgressCallback
    from .process.workers import Workers

STAGES = ("import", "passes", "lower", "plan", "generate")

# TVM's builders keep what they are at in variables of the process: threads compile one after the other.
_tvm = threading.RLock()


@failures_named
def build(
    model: Any,
    output: str | os.PathLike[str] | None,
    options: CompileOptions | None = None,
    *,
    stop_after: str = STAGES[-1],
    passes: ChoosePasses = list,
    choose: Choose | None = None,
    prepared: Callable[[OpenedModel], OpenedModel] | None = None,
    workers: Workers | None = None,
    progress: ProgressCallback | None = None,
) -> Build:
    """Compiles a model to a library and its header, for this machine or another.

    Args:
        model: what `frontends.open` takes: a path, an onnx.ModelProto, a framework's model, or an `OpenedModel`; an
            `ImportedModel` has the first stage behind it, and with passes that leave nothing to do it may be a module
            of scheduled kernels.
        output: the library to write, its header goes beside it; None where the stages stop before.
        options: all else; by default those of `CompileOptions`.
        stop_after: the last of `STAGES` to run.
        passes: which passes run, chosen from those of a compile.
        choose: settles what computes each workload, and how; by default each template's default of the fewest cycles.
        prepared: changes the opened model before it is imported: makes inner values its outputs, for example.
        workers: processes that run already; by default some are started, as the options say.
        progress: called as progress(stage, done, total).

    Raises:
        ModelError, ShapeError, UnsupportedError, UsageError, OutputError, ToolError: see `tilewright.errors`.
        RegionError: tensors do not fit the memory that they may take.
    """
    asked = options or CompileOptions()
    if stop_after not in STAGES:
        raise UsageError(f"there is no stage {stop_after!r}", where="build", hint="one of " + ", ".join(STAGES))
    tell = progress or _silent
    place = None if output is None else Path(output)
    generates = STAGES.index(stop_after) == len(STAGES) - 1
    # TVM takes seconds to load: what is wrong most often is told before.
    check_model(model)
    if place is not None:
        (check_folder if is_folder(asked.emit) else check_output)(place, model)
    elif generates:
        raise UsageError("a library has no place to go", where="build", hint="give an output, or stop before")
    make_folders(place, _path(asked.save_ir), _path(asked.keep_temps))
    tell("load TVM", 0, 0)
    made = _settled(asked, place, generates)
    generator = generator_for(made.target, asked.emit)(made.target, asked.emit) if generates else None
    example = None
    if generates and asked.emit == "bench":
        from .float_example import float_example

        example = float_example(model, asked, partial(build, progress=progress))
    with _tvm, ExitStack() as stack:
        tell("import", 0, 0)
        source = _opened(model, asked)
        made = _imported(made, source, prepared)
        if stop_after == "import":
            return made
        if workers is None and stop_after != "passes":
            workers = stack.enter_context(_workers(made, generator))
        imported, limit, before = made, memory_limit(asked, made.target), 0
        while True:
            made = _scheduled(imported, passes, choose, tell, limit)
            other = _with_fitting_recipe(made, source)
            if other is not None:
                # Layers stay float whose weights in the recipe are those of integers: the same without them.
                tell("import", 0, 0)
                imported = _imported(other, source, prepared)
                made = _scheduled(imported, passes, choose, tell, limit)
            if stop_after == "passes":
                return made
            with closing(_emitted(made, generator, workers, tell, example)) as stages:
                for stage, after in zip(STAGES[2:], stages, strict=False):
                    made = after
                    if stage == "plan" and (too_large := excess(made.plan, asked, made.target)):
                        break
                    if stage == stop_after:
                        return made
            # What kernels take besides tensors is known now: the same again, with less for tensors.
            assert too_large is not None and made.plan is not None and asked.arena is not None
            if made.plan.workspace_bytes == before:
                raise too_large
            before = made.plan.workspace_bytes
            limit = limit * asked.arena // before


def target_of(options: CompileOptions) -> Target:
    """The machine that is compiled for, and the cores to plan for.

    Raises:
        UnsupportedTargetError: there is no such target.
        UsageError: it has no use for so many threads.
    """
    from ..targets import parse

    target = options.target
    if isinstance(target, str):
        target = parse(target, cpu=options.cpu, features=tuple(options.features))
    options.check_for(target)
    return target if options.threads is None else target.with_cores(options.threads)


def _settled(options: CompileOptions, place: Path | None, generates: bool) -> Build:
    """The machine and the precision, of which every stage hears from here."""
    from .precision import planned, possible

    target = target_of(options)
    if generates or is_folder(options.emit):
        target = generator_for(target, options.emit).usable(target)
    if target.grid is not None and options.states is None:
        options = replace(options, states={})  # a GPU's memory is nobody's to keep
    precision = possible(options.precision, target)
    name = options.name or identifier(place.stem if place is not None else "model")
    return Build(options, name, planned(precision, target), precision, place)


def _opened(model: Any, options: CompileOptions) -> OpenedModel | ImportedModel:
    from .. import frontends

    if isinstance(model, frontends.ImportedModel):
        return model
    return frontends.open(model, request_of(options))


def _imported(
    made: Build, opened: OpenedModel | ImportedModel, prepared: Callable[[OpenedModel], OpenedModel] | None
) -> Build:
    from .. import frontends
    from .extents.variants import imports_of
    from .recipes.files import recipe_of
    from .recipes.identity import with_recipe

    if isinstance(opened, frontends.ImportedModel):
        return replace(made, imported=opened, recipe=recipe_of(made.options.recipe))
    recipe, opened = with_recipe(made.options.recipe, opened)
    opened = opened if prepared is None else prepared(opened)
    imports = imports_of(opened, made.options)
    return replace(
        made,
        ranges=imports.ranges,
        imported=imports.imported,
        best=imports.best,
        states=imports.states,
        recipe=recipe,
    )


def _with_fitting_recipe(made: Build, opened: OpenedModel | ImportedModel) -> Build | None:
    """The compile of a recipe without weights of integers for layers that stay float; None where it has none."""
    from .. import frontends
    from .recipes.fitting import fitting

    if made.recipe is None or isinstance(opened, frontends.ImportedModel):
        return None
    recipe = fitting(made.recipe, opened, made.kept_float)
    return None if recipe is made.recipe else replace(made, options=replace(made.options, recipe=recipe), kept_float={})


def _workers(made: Build, generator: CodeGenerator | None) -> AbstractContextManager[Workers | None]:
    """Workers that start while the passes run, so that they are ready when there are kernels for them."""
    from .lowering import batches

    assert made.imported is not None
    count = batches.worker_count(made.options.jobs, made.imported.module)
    return started(count, generator.jobs if generator is not None else batches.__name__)


def _scheduled(
    made: Build, passes: ChoosePasses, choose: Choose | None, tell: ProgressCallback, limit_bytes: int
) -> Build:
    from ..ir_passes.registry import edited
    from ..schedules.templates.template import choose_default
    from ..schedules.tuner.records import chooser_of
    from . import pipeline
    from .extents.shared_weights import SharedWeights
    from .extents.sized_parts import extents_of
    from .recipes.apply import Applied

    assert made.imported is not None
    kept: dict[str, str] = {}
    choose = choose or (chooser_of(made.options.records, made.target) if made.options.records else choose_default)
    weights = SharedWeights(choose)
    run = partial(
        pipeline.run,
        target=made.target,
        precision=made.precision,
        quantize=made.options.quantize,
        order=lambda all_of_them: passes(edited(all_of_them, made.options.passes)),
        limit_bytes=limit_bytes,
        progress=tell,
    )
    whole = Applied(made.recipe, made.imported, kept.__setitem__)
    extents = extents_of(made.states, made.imported, made.ranges)
    module = run(
        made.imported.module, save_ir=made.options.save_ir, extents=extents, applied=whole, choose=weights.first
    )
    own = [
        run(
            each.imported.module,
            extents=extents_of(made.states, each.imported, each.ranges),
            applied=Applied(made.recipe, each.imported),
            choose=choose if made.options.records else weights.others,
        )
        for each in made.best
    ]
    best = tuple(replace(each, module=one) for each, one in zip(made.best, own, strict=True))
    return replace(made, module=module, best=best, kept_float=kept)


def _emitted(
    made: Build,
    generator: CodeGenerator | None,
    workers: Workers | None,
    tell: ProgressCallback,
    example: Example | None,
) -> Generator[Build, None, None]:
    """Yields the compile after each stage from lowering on."""
    from .codegen.generator import Program
    from .emission.planner import make_plan
    from .emission.structure import structure_of
    from .kernels import kernels_of
    from .lowering.batches import lower_kernels

    options = made.options
    tell("lower", 0, 0)
    table = kernels_of(made)
    graph, structure = table.graph, structure_of(table)
    made = replace(made, target=made.target.for_dtypes(table.dtypes))
    with ExitStack() as stack:
        stack.enter_context(output_errors(made.path or Path()))
        folder = stack.enter_context(work_folder(_path(options.keep_temps))) if generator is not None else Path()
        meanwhile = stack.enter_context(ThreadPoolExecutor(1))
        stack.enter_context(nodes_named(table.nodes))
        if generator is not None:
            # Weights take seconds when they are many, and need no kernel.
            weights = meanwhile.submit(generator.write_weights, made.name, graph.constants, folder)
        lowered = lower_kernels(
            table.functions,
            made.target,
            parallel=options.threaded and made.target.grid is None,
            workers=workers,
            progress=lambda done, total: tell("lower", done, total),
        )
        yield replace(made, table=table, lowered=lowered)
        with failing_in("the planner", "the plan cannot be made", writes_files=True):
            plan = make_plan(
                made.name,
                graph,
                table.kernels(lowered.scratch),
                table.kernel_of,
                limits=options.regions,
                unit=made.target.alignment,
                reorder=made.target.saves_memory or bool(options.arena),
            )
        signature = make_signature(
            plan,
            triple=made.target.triple,
            cpu=made.target.cpu,
            arch=made.target.arch,
            cpu_features=tuple(made.target.required_features),
            threads=1 if made.target.grid is not None else options.threads,
            tilewright_version=version(),
            precision=made.precision,
            quantize=options.quantize or "",
            device=made.target.device,
            structure=structure.digest,
            codes=structure.kernels,
            weights=structure.weights,
        )
        made = replace(made, table=table, lowered=lowered, plan=plan, signature=signature)
        yield made
        assert generator is not None and made.path is not None
        generated = generator.generate(
            Program(plan, signature, lowered, example),
            folder,
            made.path,
            weights_done=weights.result,
            workers=workers,
            progress=tell,
        )
        tell("write", 0, 0)
        publish(generated.files)
    yield replace(made, header=generated.header)


def _path(name: str | os.PathLike[str] | None) -> Path | None:
    return None if name is None else Path(name)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody asked for."""

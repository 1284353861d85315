"use strict";
// Hints over the charts, sorting and filtering of the table. Everything shown is read off the table: its rows and the
// charts' marks carry the same data-step.
(() => {
  const table = document.getElementById("kernels");
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const rowOf = new Map(rows.map((row) => [row.dataset.step, row]));
  const hint = document.getElementById("hint");
  const input = document.getElementById("filter");
  const buttons = [...document.querySelectorAll(".legend button")];
  const NEAR = 28; // pixels around a mark in which it is meant

  // Which kernels are shown: the templates that are switched on, and the words of the filter.
  const wanted = () => {
    const on = new Set(buttons.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.template));
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    return (row) => on.has(row.dataset.template) && words.every((word) => row.textContent.toLowerCase().includes(word));
  };
  const filter = () => {
    const isWanted = wanted();
    for (const row of rows) row.hidden = !isWanted(row);
    for (const mark of document.querySelectorAll(".mark")) {
      mark.style.display = rowOf.get(mark.dataset.step).hidden ? "none" : "";
    }
    for (const rank of document.querySelectorAll(".rank")) {
      rank.style.display = rowOf.get(rank.dataset.step).hidden ? "none" : "";
    }
    document.getElementById("count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    choose(null);
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      filter();
    });
  }
  input.addEventListener("input", filter);

  // Sorting: numbers from the largest, text from its start; a second time the other way round.
  headings.forEach((heading, column) => {
    heading.firstElementChild.addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const direction = before ? (before === "ascending" ? -1 : 1) : numeric ? -1 : 1;
      const key = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
      };
      const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
      rows.sort((a, b) => direction * order(key(a), key(b)));
      body.append(...rows);
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    });
  });

  // One kernel can be chosen: its marks and its row are marked, and a hint tells about it.
  let chosen = null;
  function choose(mark) {
    for (const each of document.querySelectorAll(".chosen")) each.classList.remove("chosen");
    chosen = mark;
    hint.hidden = !mark;
    if (!mark) return;
    const row = rowOf.get(mark.dataset.step);
    row.classList.add("chosen");
    for (const each of document.querySelectorAll(".mark")) {
      each.classList.toggle("chosen", each.dataset.step === mark.dataset.step);
    }
    const text = (column) => row.cells[column].textContent.trim();
    const line = (content, name) => Object.assign(document.createElement(name), { textContent: content });
    const numbers = document.createElement("dl");
    for (const [column, heading] of headings.entries()) {
      if (column === 0 || column === headings.length - 1) continue;
      numbers.append(line(heading.textContent.trim(), "dt"), line(text(column), "dd"));
    }
    hint.replaceChildren(line(text(0), "strong"), line(text(headings.length - 1), "span"), numbers);
    const box = mark.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, box.left + box.width / 2 + 12), width - hint.offsetWidth - 8);
    const above = box.top - hint.offsetHeight - 10;
    hint.style.left = `${left + scrollX}px`;
    hint.style.top = `${(above > 0 ? above : box.bottom + 10) + scrollY}px`;
  }

  for (const chart of document.querySelectorAll(".chart")) {
    const shown = () => [...chart.querySelectorAll(".mark")].filter((mark) => mark.style.display !== "none");
    const nearest = (event) => {
      const scale = chart.getBoundingClientRect().width / chart.viewBox.baseVal.width;
      const box = chart.getBoundingClientRect();
      const x = (event.clientX - box.left) / scale;
      const y = (event.clientY - box.top) / scale;
      const distance = (mark) => {
        const dx = mark.dataset.x - x;
        return chart.dataset.nearest === "x" ? Math.abs(dx) : Math.hypot(dx, mark.dataset.y - y);
      };
      const found = shown().reduce((a, b) => (!a || distance(b) < distance(a) ? b : a), null);
      return found && distance(found) * scale <= NEAR ? found : null;
    };
    chart.addEventListener("pointermove", (event) => choose(nearest(event)));
    chart.addEventListener("pointerdown", (event) => choose(nearest(event)));
    chart.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && choose(null));
    chart.addEventListener("keydown", (event) => {
      const marks = shown().sort((a, b) => a.dataset.step - b.dataset.step);
      const at = marks.indexOf(chosen);
      const moves = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1 };
      if (event.key === "Escape") choose(null);
      else if (event.key === "Enter" && chosen) rowOf.get(chosen.dataset.step).scrollIntoView({ block: "center" });
      else if (event.key in moves && marks.length) {
        event.preventDefault();
        choose(marks.at(moves[event.key] % marks.length));
      }
    });
    chart.addEventListener("blur", () => choose(null));
  }
})();

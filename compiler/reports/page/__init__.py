"""The page of `bench --html`: template, style sheet and script, filled in by `bench_page`."""

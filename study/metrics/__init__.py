"""The metrics of a GAN. Every file of this folder is one metric; no list of them is kept elsewhere.

A metric's name is its file's name. A metric file defines `NEEDS`, `COLUMNS` and `measure`:

```
NEEDS = frozenset({"labels"})           # what variant and data must offer: see core/needs.py
COLUMNS = {"label_accuracy": "share of fakes ..."}  # each column and its protocol
def measure(view: View) -> dict[str, float]: ...
```

A metric file may also define

```
DIRECTIONS = {"label_accuracy": "maximize"}  # columns of which low or high values are better
WHEN = "end"                      # the metric is slow: see below
REAL = {"recall": "recall_real"}  # `recall` of real images, measured once, is this column
UNBOUNDED = frozenset({"fcd"})    # positive columns without an upper bound: see below
BY_FEATURES = frozenset({"fcd"})  # columns that depend on the judge's features: see below
BY_LABELS = frozenset({"label_accuracy"})  # columns that depend on the labels that a judge reads
HELD_OUT = 10_000                 # held-out real images in `Reference.x`, at most; default 1,024
```

Only a column that is named in DIRECTIONS can be a study's objective or have relapses. A column is
left out there if no end of it is better: of a ratio to real images, for example, 1 is right.

A claim on an unbounded column has to compare ratios (`log=True`). A few seeds may have values many
times as large as the others there, and the interval of a plain mean would then be far too narrow.

A study has several judges, which differ in their seeds. A column that depends on the judge is
measured with the eyes of each one, and is the mean over them. `View` has one judge: its features,
its labels, and a reference of real images as that judge sees them. A column that depends on labels
is left out where the judges cannot read them.

A slow metric is measured at the end of confirm cells only. On a GPU it is measured at every tick of
confirm cells.
"""

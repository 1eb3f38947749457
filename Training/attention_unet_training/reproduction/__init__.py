"""The paper's tables and figures as plans of the package's own commands.

Data flow: ``plan.make_plan`` lists the steps of a table, in order. A step is one command line of
``attention-unet-train`` (prepare, fit, evaluate, attention) or a file that is written here (splits, the table), the
files that it reads and the files that it leaves. ``runner.run`` does those that are not done, each command in a process
of its own with its log kept. All lies in one folder, which several tables share::

    datasets/<data>/        prepared cases; splits/ours-*.json of the id lists that ship in splits/<data>/
    runs/<run>/             best.ckpt, last.ckpt, logs of one training
    reports/<table>_<part>/ what evaluate writes
    <table>.md              the table; figures/ for the figures
    logs/<step>.log         what the commands print
    steps/<step>.json       the step's marker: its arguments, the SHA-256 of what it reads, and when done, its seconds

A step is done if its marker says so and its files are there. One that was begun goes on: ``fit`` from its last.ckpt,
``prepare`` and ``evaluate`` with the next case. A step whose marker has other arguments, or which was made of other
files than are there now, is refused: nothing is replaced silently.
"""

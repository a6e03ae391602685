"""The suite: methods compared on many data sets and draws of labels, or on a data set of one's own.

A `Task` is one question (which set, which labels, which draw), `run` measures each method on each task and logs it, and
`summary` and `page` say what comes of it.
"""

from aaekit.evaluation.suite.page import write_page
from aaekit.evaluation.suite.running import Cell, Failure, Progress, kind_of_task, read_logs, run
from aaekit.evaluation.suite.summary import Regret, lines, method_table, questions, regrets, short_table, table, verdict
from aaekit.evaluation.suite.tasks import FAMILIES, SETS, Task, own_tasks, tasks

__all__ = [
    "FAMILIES",
    "SETS",
    "Cell",
    "Failure",
    "Progress",
    "Regret",
    "Task",
    "kind_of_task",
    "lines",
    "method_table",
    "own_tasks",
    "questions",
    "read_logs",
    "regrets",
    "run",
    "short_table",
    "table",
    "tasks",
    "verdict",
    "write_page",
]

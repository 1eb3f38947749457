"""An evaluation as a Markdown table in the paper's form: a row per organ and metric, a column per system."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .comparison import RESAMPLES, SIGNIFICANT
from .evaluation import Evaluation
from .metrics import METRICS, Metric
from .published import PAPER, MeanStd, PublishedSystem

NOTHING = "-"
HERE = "measured here"


def render(evaluation: Evaluation, published: Sequence[PublishedSystem] = ()) -> str:
    """The table with its caption, confidence intervals and p-values below it.

    Args:
        evaluation: What was measured.
        published: Systems to print beside it; those with a single metric are listed in rows, as in the paper's table 4.
    """
    beside = [system for system in published if len(system.metrics) > 1]
    below = [system for system in published if len(system.metrics) == 1]
    parts = [f"# {_escaped(evaluation.data)}", _table(evaluation, beside)]
    parts += [_list_of_systems(evaluation, below)] if below else []
    parts.append("\n".join(f"- {line}" for line in _caption(evaluation, published)))
    parts += _intervals(evaluation)
    parts += [_comparison(evaluation, column.title) for column in evaluation.columns[1:]]
    return "\n\n".join(parts) + "\n"


def _table(evaluation: Evaluation, published: Sequence[PublishedSystem]) -> str:
    titles = [_escaped(column.title) for column in evaluation.columns]
    rows = [["", *titles, *(f"{system.title} ({system.cases}), published" for system in published)]]
    organs = [*evaluation.organs, *_organs_of(published, evaluation.organs)]
    for organ in organs:
        for metric in METRICS:
            ours = [_cell(evaluation, column.title, organ, metric) for column in evaluation.columns]
            theirs = [_published_cell(system.metrics.get((organ, metric.key))) for system in published]
            if any(cell != NOTHING for cell in (*ours, *theirs)):
                rows.append([f"{_escaped(organ.capitalize())} {metric.heading}", *ours, *theirs])
    sizes = [f"{column.parameters:,}" if column.parameters else NOTHING for column in evaluation.columns]
    rows.append(["Number of parameters", *sizes, *(system.parameters or NOTHING for system in published)])
    times = [f"{column.forward.seconds:.3f} s" if column.forward else NOTHING for column in evaluation.columns]
    printed = [f"{system.forward_seconds:.3f} s" if system.forward_seconds else NOTHING for system in published]
    rows.append(["Forward pass, 160 x 160 x 96", *times, *printed])
    if published:
        rows.append(["Data", *([_own_data(evaluation)] * len(titles)), *(system.data for system in published)])
        rows.append(["Source", *([HERE] * len(titles)), *(system.source for system in published)])
    return _grid(rows)


def _list_of_systems(evaluation: Evaluation, published: Sequence[PublishedSystem]) -> str:
    """One row per system, for a single organ and metric."""
    organ, key = next(iter(published[0].metrics))
    metric = next(metric for metric in METRICS if metric.key == key)
    rows = [["Method", "Data", f"{organ.capitalize()} {metric.heading}", "Train/test", "Source"]]
    rows += [
        [_escaped(column.title), _own_data(evaluation), _cell(evaluation, column.title, organ, metric), NOTHING, HERE]
        for column in evaluation.columns
    ]
    rows += [
        [system.title, system.data, _published_cell(system.metrics.get((organ, key))), system.cases, system.source]
        for system in published
    ]
    return _grid(rows)


def _own_data(evaluation: Evaluation) -> str:
    return f"{_escaped(evaluation.data)} ({_count(len(evaluation.patients), 'case')})"


def _cell(evaluation: Evaluation, title: str, organ: str, metric: Metric) -> str:
    summary = evaluation.summary(title, organ, metric.key)
    if not summary.cases:
        return NOTHING
    text = _mean_and_std(summary.mean, summary.std)
    text = f"**{text}**" if _is_bold(evaluation, title, organ, metric) else text
    return text if summary.cases == len(evaluation.patients) else f"{text} (n = {summary.cases})"


def _is_bold(evaluation: Evaluation, title: str, organ: str, metric: Metric) -> bool:
    """Whether a system is better than the first column with p < 0.05; the first: better than every other."""
    sign = 1 if metric.higher_is_better else -1
    others = [column.title for column in evaluation.columns[1:]]
    if title in others:
        return evaluation.compared(title, organ, metric.key).direction == sign
    rivals = [evaluation.compared(other, organ, metric.key) for other in others]
    return bool(rivals) and all(entry.direction == -sign for entry in rivals)


def _caption(evaluation: Evaluation, published: Sequence[PublishedSystem]) -> list[str]:
    patients = len(set(evaluation.patients.values()))
    cases = f"{_count(len(evaluation.patients), 'case')} of {_count(patients, 'patient')}"
    lines = [
        f"{cases}; mean \u00b1 standard deviation over cases (sample, n - 1), or the value of a single case.",
        "S2S: mean distance between the surfaces' meshes, mean of both directions, weighted by area; 95% Hausdorff: "
        "the larger of both directed 95th percentiles of the same distances.",
        "If both masks are empty, overlap is 1 and distances are 0; if one is, overlap is 0, and distances are "
        "undefined and left out of the mean.",
    ]
    if evaluation.cleaned is not None:
        how = "cleaned up as for users" if evaluation.cleaned else "raw, without the clean-up"
        lines.append(f"Networks' segmentations are {how}.")
    if not evaluation.patients_named:
        lines.append("Patients were not named: every CT without a name counts as a different patient's.")
    lines += [f"{_escaped(column.title)}: {_escaped(column.identity)}." for column in evaluation.columns]
    lines += _about_seen(evaluation)
    lines += [*_about_tests(evaluation), *_about_missing(evaluation), *_about_time(evaluation)]
    if published:
        lines.append(
            f"Published figures: {PAPER}; measured by others on their data, so differences to the columns measured "
            "here are no comparison of networks. Bold as printed there. Their times are of the authors' GPU."
        )
    return lines


def _about_seen(evaluation: Evaluation) -> list[str]:
    seen = {column.title: evaluation.seen(column.title) for column in evaluation.columns}
    return [
        f"**{_escaped(title)} was trained on {len(cases)} of these cases, or selected on them**, such as "
        f"{_escaped(cases[0])}: its figures say nothing of other CTs."
        for title, cases in seen.items()
        if cases
    ]


def _about_tests(evaluation: Evaluation) -> list[str]:
    if len(evaluation.columns) < 2:
        return []
    first = _escaped(evaluation.columns[0].title)
    tests = sum(not math.isnan(entry[3].p) for entry in evaluation.comparisons)
    lines = [
        f"Bold: better than {first} in mean and ranks, with p < {SIGNIFICANT} ({first}: than all others), two-sided "
        f"Wilcoxon signed-rank test over pairs of cases, corrected by Holm's method for {_count(tests, 'test')}: all "
        "of this table's."
    ]
    refusals = dict.fromkeys(entry[3].refusal for entry in evaluation.comparisons if entry[3].refusal)
    return [*lines, *(f"Comparisons not tested: {refusal}." for refusal in refusals)]


def _about_missing(evaluation: Evaluation) -> list[str]:
    titles = [column.title for column in evaluation.columns]
    lines = [
        f"No reference has a voxel of the {_escaped(organ)}: is its value right?"
        for organ in evaluation.organs
        if not any(ml for title in titles for ml in evaluation.values(title, organ, "reference_ml").values())
    ]
    lines += [
        f"{_escaped(column.title)} has no voxel of the {_escaped(organ)} in any case"
        + ("." if column.parameters else ": is its value right?")
        for column in evaluation.columns
        for organ in evaluation.organs
        if (found := evaluation.values(column.title, organ, "predicted_ml")) and not any(found.values())
    ]
    for column in evaluation.columns:
        for organ in evaluation.organs:
            summary = evaluation.summary(column.title, organ, "surface_distance_mm")
            if summary.undefined:
                total = summary.cases + summary.undefined
                lines.append(
                    f"{_escaped(column.title)}: distances of the {_escaped(organ)} are undefined in "
                    f"{summary.undefined} of {_count(total, 'case')} (one mask is empty)."
                )
    lines += [
        f"{_escaped(failure.column)}: not measured on {_escaped(failure.error)}." for failure in evaluation.failures
    ]
    return lines


def _about_time(evaluation: Evaluation) -> list[str]:
    return [
        f"{_escaped(column.title)}: forward pass: median of {_count(column.forward.runs, 'run')} after one to warm up, "
        f"{column.forward.where}."
        for column in evaluation.columns
        if column.forward
    ]


def _intervals(evaluation: Evaluation) -> list[str]:
    """The means' confidence intervals; nothing if there are too few patients for any."""
    rows = [["", *(_escaped(column.title) for column in evaluation.columns)]]
    for organ in evaluation.organs:
        for metric in METRICS:
            summaries = [evaluation.summary(column.title, organ, metric.key) for column in evaluation.columns]
            cells = [_limits(summary.interval) for summary in summaries]
            if any(cell != NOTHING for cell in cells):
                rows.append([f"{_escaped(organ.capitalize())} {metric.heading}", *cells])
    if len(rows) == 1:
        return []
    how = f"expanded percentile bootstrap over patients, {RESAMPLES:,} resamples"
    return [f"95 % confidence intervals of the means ({how}):\n\n{_grid(rows)}"]


def _comparison(evaluation: Evaluation, title: str) -> str:
    """What lies between a system and the first column."""
    rows = [["", "difference", "95 % interval", "pairs", "p", "p (Holm)"]]
    for organ in evaluation.organs:
        for metric in METRICS:
            entry = evaluation.compared(title, organ, metric.key)
            p_values = [NOTHING if math.isnan(p) else f"{p:.2g}" for p in (entry.p, entry.p_corrected)]
            name = f"{_escaped(organ.capitalize())} {metric.heading}"
            difference = f"{entry.difference:+.3f}" if entry.pairs else NOTHING
            rows.append([name, difference, _limits(entry.interval), str(entry.pairs), *p_values])
    return f"{_escaped(title)} minus {_escaped(evaluation.columns[0].title)}, case by case:\n\n{_grid(rows)}"


def _limits(interval: tuple[float, float]) -> str:
    return NOTHING if math.isnan(interval[0]) else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _organs_of(published: Sequence[PublishedSystem], known: Sequence[str]) -> list[str]:
    listed = dict.fromkeys(organ for system in published for organ, _ in system.metrics)
    return [organ for organ in listed if organ not in known]


def _published_cell(metric: MeanStd | None) -> str:
    if metric is None:
        return NOTHING
    text = _mean_and_std(metric.mean, metric.std)
    return f"**{text}**" if metric.bold else text


def _mean_and_std(mean: float, std: float) -> str:
    return f"{mean:.3f}" if math.isnan(std) else f"{mean:.3f} \u00b1 {std:.3f}"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("\n", " ")

"""The plans: which steps make a table of the paper, in order (the package's docstring tells how they are run)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..preparation.records import DATASET_FILE, SPLITS_FOLDER
from .public_data import AMOS, CT82, PublicData

DATA = "{data}"  # in arguments: the folder of the raw data
SETTINGS_FILE = "settings.yaml"
FOLDS = 5
UNET, ATTENTION_UNET = "U-Net", "Attention U-Net"


@dataclass(frozen=True)
class Recipe:
    """How networks are trained and measured.

    Attributes:
        configs: Of ``fit``, before the experiment's own.
        prepare: Further options of ``prepare``.
        evaluate: Further options of ``evaluate``.
    """

    configs: tuple[str, ...]
    prepare: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()


RECIPES: Mapping[str, Recipe] = {
    "paper": Recipe(("paper/base.yaml",), evaluate=("--grid", "network")),  # of 2 mm, as the paper's images were
    "public_code": Recipe(
        ("paper/base.yaml", "paper/public_code.yaml"), ("--clip", "-1024", "3071"), ("--grid", "public-code")
    ),
}


@dataclass(frozen=True)
class Step:
    """One step. Paths are relative to the output folder, in which commands run.

    Attributes:
        name: Of its log and marker.
        arguments: Of ``attention-unet-train``, with {data} for the folder of the raw data; "splits" and "table" are
            not commands but written by the runner. A pattern such as runs/a/epoch_*.ckpt stands for what it matches.
        inputs: Files that it reads.
        outputs: Files that are there when it is done.
        cases: Cases that it prepares, trains on or measures.
    """

    name: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    cases: int = 0

    @property
    def kind(self) -> str:
        """The command."""
        return self.arguments[0]


@dataclass(frozen=True)
class Plan:
    """All steps of a table.

    Attributes:
        table: Its name.
        title: What the document is headed with.
        recipe: Name of the recipe.
        seed: Of the trainings.
        data: What it is made on.
        steps: In order.
    """

    table: str
    title: str
    recipe: str
    seed: int
    data: tuple[PublicData, ...]
    steps: tuple[Step, ...]


def make_plan(table: str, recipe: str = "paper", seed: int = 0, settings: bool = False) -> Plan:
    """The plan of a table.

    Args:
        table: One of ``TABLES``.
        recipe: One of ``RECIPES``.
        seed: Of every training: weights, patches, choice of validation cases.
        settings: Whether settings.yaml in the output folder changes the trainings.

    Raises:
        ValueError: If the recipe's networks cannot be looked at for figures.
    """
    if (table, recipe) == ("figures", "public_code"):
        raise ValueError(
            "figures need the recipe paper: networks of public_code take volumes that are scaled one by one"
        )
    steps = _Steps(RECIPES[recipe], seed, settings)
    title, make = TABLES[table]
    make(steps)
    return Plan(table, title, recipe, seed, tuple(steps.data), tuple(steps.steps))


@dataclass
class _Steps:
    """Steps in the making."""

    recipe: Recipe
    seed: int
    settings: bool
    data: list[PublicData] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def prepare(self, data: PublicData) -> None:
        """Prepare a data set, and write our splits."""
        described, splits = f"{data.prepared}/{DATASET_FILE}", data.split_names()
        self.data.append(data)
        arguments = ("prepare", f"{DATA}/{data.folder}", "--output", data.prepared, "--name", data.title)
        options = (*data.options, *self.recipe.prepare)
        self.steps.append(Step(f"prepare_{data.key}", (*arguments, *options), (), (described,), data.cases))
        written = tuple(_split_file(data, name) for name in splits)
        self.steps.append(Step(f"splits_{data.key}", ("splits", data.key), (described,), written))

    def fit(
        self,
        run: str,
        data: PublicData,
        split: str,
        config: str,
        options: tuple[str, ...] = (),
        start: str = "",
        fold: int = 0,
    ) -> str:
        """Train; returns the checkpoint.

        Args:
            run: Name of its folder.
            data: What is trained on.
            split: Of these cases.
            config: Of the experiment, after the recipe's.
            options: Further ones.
            start: Checkpoint to start from.
            fold: Of the split.
        """
        folder = f"runs/{run}"
        configs = [*self.recipe.configs, f"paper/{config}.yaml"]
        if run == "table1_attention_unet":  # figures 3 and 4 are drawn of this one
            configs.append("paper/kept_epochs.yaml")
        arguments = ["fit", *(part for name in configs for part in ("--config", name)), "--trainer.devices", "1"]
        arguments += ["--config", SETTINGS_FILE] if self.settings else []
        arguments += options
        arguments += ["--model.init_from", start] if start else []
        arguments += ["--data.dataset", data.prepared, "--data.split", split]
        arguments += ["--data.fold", str(fold)] if data.split(split).kind == "folds" else []
        arguments += ["--data.seed", str(self.seed), "--seed_everything", str(self.seed)]
        arguments += ["--trainer.default_root_dir", folder]
        inputs = (f"{data.prepared}/{DATASET_FILE}", _split_file(data, split), *([start] if start else []))
        inputs += (SETTINGS_FILE,) if self.settings else ()
        cases = len(data.split(split).folds[fold].train)
        best = f"{folder}/best.ckpt"
        name = f"fit_{run.replace('/', '_')}"
        self.steps.append(Step(name, tuple(arguments), inputs, (best, f"{folder}/last.ckpt"), cases))
        return best

    def evaluate(self, part: str, data: PublicData, split: str, models: Mapping[str, str], published: str) -> str:
        """Measure and compare; returns the table's file.

        Args:
            part: Name of the report's folder.
            data: What is measured on.
            split: Its test part.
            models: Title -> checkpoint; the first is what the others are compared with.
            published: The paper's table to print beside.
        """
        folder, folds = f"reports/{part}", data.split(split).folds
        arguments = ["evaluate", "--dataset", data.prepared, "--split", split, "--raw", "--published", published]
        arguments += [text for title, path in models.items() for text in ("--model", f"{title}={path}")]
        arguments += [*self.recipe.evaluate, "--report-dir", folder]
        checkpoints = [path.replace("{fold}", str(n)) for path in models.values() for n in range(len(folds))]
        inputs = (f"{data.prepared}/{DATASET_FILE}", _split_file(data, split), *dict.fromkeys(checkpoints))
        outputs = tuple(f"{folder}/{name}" for name in ("table.md", "cases.csv", "evaluation.json"))
        cases = sum(len(fold.test) for fold in folds) * len(models)
        self.steps.append(Step(f"evaluate_{part}", tuple(arguments), inputs, outputs, cases))
        return outputs[0]

    def write(self, table: str, parts: Mapping[str, str]) -> None:
        """Put the parts (heading -> table's file) into one document."""
        text = tuple(f"{heading}={path}" for heading, path in parts.items())
        self.steps.append(Step(f"table_{table}", ("table", *text), tuple(parts.values()), (f"{table}.md",)))


def _split_file(data: PublicData, name: str) -> str:
    return f"{data.prepared}/{SPLITS_FOLDER}/{name}.json"


def _table1_networks(steps: _Steps) -> dict[str, str]:
    """U-Net and Attention U-Net trained on 120 cases: tables 1, 2 and 3 and the figures need them."""
    steps.prepare(AMOS)
    return {
        UNET: steps.fit("table1_unet", AMOS, "ours-120-30", "table1_unet"),
        ATTENTION_UNET: steps.fit("table1_attention_unet", AMOS, "ours-120-30", "table1_attention_unet"),
    }


def _table1(steps: _Steps) -> None:
    many = _table1_networks(steps)
    few = {
        UNET: steps.fit("table1_unet_30", AMOS, "ours-30-120", "table1_unet"),
        ATTENTION_UNET: steps.fit("table1_attention_unet_30", AMOS, "ours-30-120", "table1_attention_unet"),
    }
    parts = {
        "Trained on 120 cases": steps.evaluate("table1_120", AMOS, "ours-120-30", many, "table1"),
        "Trained on 30 cases": steps.evaluate("table1_30", AMOS, "ours-30-120", few, "table1"),
    }
    steps.write("table1", parts)


def _table2(steps: _Steps) -> None:
    steps.prepare(AMOS)
    networks = {ATTENTION_UNET: steps.fit("table1_attention_unet", AMOS, "ours-120-30", "table1_attention_unet")}
    for size, title in (("6m44", "U-Net, 6.44 M"), ("10m40", "U-Net, 10.40 M")):
        networks[title] = steps.fit(f"table2_unet_{size}", AMOS, "ours-120-30", f"table2_unet_{size}")
    steps.write("table2", {"Wider U-Nets": steps.evaluate("table2", AMOS, "ours-120-30", networks, "table2")})


def _table3(steps: _Steps) -> None:
    before = _table1_networks(steps)
    steps.prepare(CT82)
    after, scratch = {}, {}
    for title, network in ((UNET, "UNet"), (ATTENTION_UNET, "AttentionUNet")):
        name, options = "unet" if title == UNET else "attention_unet", ("--model.network.architecture", network)
        after[title] = steps.fit(f"table3_aft_{name}", CT82, "ours-60-20", "table3_aft", options, before[title])
        scratch[title] = steps.fit(f"table3_scr_{name}", CT82, "ours-60-20", "table3_scr", options)
    parts = {
        f"{heading} ({short})": steps.evaluate(f"table3_{short.lower()}", CT82, "ours-60-20", networks, "table3")
        for heading, short, networks in (
            ("Before fine-tuning", "BFT", before),
            ("After fine-tuning", "AFT", after),
            ("From scratch", "SCR", scratch),
        )
    }
    steps.write("table3", parts)


def _cross_validation(steps: _Steps) -> None:
    steps.prepare(CT82)
    for fold in range(FOLDS):
        steps.fit(f"cross_validation/fold_{fold}", CT82, "ours-folds-5", "cross_validation", fold=fold)
    networks = {ATTENTION_UNET: "runs/cross_validation/fold_{fold}/best.ckpt"}
    part = steps.evaluate("cross_validation", CT82, "ours-folds-5", networks, "table4")
    steps.write("cross-validation", {"Every case tested by the network that did not see it": part})


def _figures(steps: _Steps) -> None:
    networks = _table1_networks(steps)
    arguments = ["attention", "--dataset", AMOS.prepared, "--split", "ours-120-30"]
    arguments += ["--model", "runs/table1_attention_unet/epoch_*.ckpt", "--model", networks[ATTENTION_UNET]]
    arguments += ["--beside", networks[UNET], "--output", "figures", "--overwrite"]
    inputs = (f"{AMOS.prepared}/{DATASET_FILE}", _split_file(AMOS, "ours-120-30"), *networks.values())
    steps.steps.append(Step("figures", tuple(arguments), inputs, ("figures/attention.md",), 1))


TABLES: Mapping[str, tuple[str, Callable[[_Steps], None]]] = {
    "table1": ("Table 1: Attention U-Net against U-Net", _table1),
    "table2": ("Table 2: Attention U-Net against wider U-Nets", _table2),
    "table3": ("Table 3: pancreas on CT-82, before and after fine-tuning, and from scratch", _table3),
    "cross-validation": ("5-fold cross-validation on CT-82", _cross_validation),
    "figures": ("Figures 3 and 4", _figures),
}

"""Rules of the training package: commands are the top layer, the engine knows nothing of it, no import circles."""

from support.source_code import ROOT, check_for_circles, dotted, imports

NAME, ENGINE = "attention_unet_training", "AttentionUNetSegmentationLib"
PACKAGE = ROOT / "Training" / NAME
FILES = sorted(PACKAGE.rglob("*.py"))
ENGINE_FILES = sorted((ROOT / "AttentionUNetSegmentation").rglob("*.py"))
COMMAND_LINE = {f"{NAME}.command_line", f"{NAME}.cli"}


def layer_of(module: str) -> str:
    """The folder of one of the package's modules; "" for files at its top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def test_only_the_command_line_imports_commands():
    """Not even a command imports another: what two of them need has a layer of its own."""
    found = [(dotted(path), name) for path in FILES for name, _ in imports(path)]
    assert [pair for pair in found if pair[1].startswith(f"{NAME}.commands")] == []


def test_layers_do_not_import_the_command_line():
    found = [(dotted(path), name) for path in FILES for name, _ in imports(path) if name in COMMAND_LINE]
    assert [pair for pair in found if layer_of(pair[0]) != "commands"] == []
    assert found  # commands do


def test_the_engine_does_not_import_the_training_package():
    found = [(dotted(path), name) for path in ENGINE_FILES for name, _ in imports(path)]
    assert [pair for pair in found if pair[1].split(".")[0] == NAME] == []


def test_the_package_imports_the_engine():
    """The rule above is not one about packages that have nothing to do with each other."""
    assert any(name.startswith(ENGINE) for path in FILES for name, _ in imports(path))


def test_nothing_imports_in_a_circle():
    check_for_circles(FILES)


def test_layers_import_in_one_direction():
    """Folders, too, do not import each other in a circle, whichever files of them are concerned."""
    below: dict[str, set[str]] = {}
    for path in FILES:
        layer = layer_of(dotted(path))
        imported = {layer_of(name) for name, _ in imports(path) if name.startswith(f"{NAME}.")} - {"", layer}
        below.setdefault(layer, set()).update(imported)
    waiting = dict(below)
    while waiting:
        free = [layer for layer, needed in waiting.items() if not needed & waiting.keys()]
        assert free, f"these folders import each other: {waiting}"
        for layer in free:
            del waiting[layer]

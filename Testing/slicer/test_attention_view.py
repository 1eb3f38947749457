"""The chosen map over the CT: what is listed, shown, put back, and said of it."""

import json

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ALL = ["none", "s2-1", "s2-2", "s3-1", "s3-2", "s4-1", "s4-2", "mean s2", "mean s3", "mean s4"]


@pytest.fixture
def result(logic, add_ct, network):
    """A result with probability maps."""
    return logic.segment(add_ct(), device="cpu", predictor=network(), probabilities=True)


def views(slicer):
    """Foreground node and opacity by slice view."""
    return {
        node.GetLayoutName(): (slicer.mrmlScene.GetNodeByID(node.GetForegroundVolumeID() or ""), node)
        for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    }


def show(node, name, opacity=0.5, threshold=(0.0, 1.0), colors=None, all_views=True):
    from AttentionUNetSegmentationLib.scene import attention_view

    return attention_view.show(node, name, opacity, threshold, colors, all_views)


def test_choices(result):
    from AttentionUNetSegmentationLib.scene.attention_view import choices

    assert choices(result) == [*ALL, "probability kidney", "probability pancreas", "probability spleen"]
    assert choices(None) == ["none"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_gate_is_shown_in_all_views_and_their_link_is_left_alone(slicer, result, linked):
    for _, composite in views(slicer).values():
        composite.SetLinkedControl(linked)
    node = show(result, "s3-1", opacity=0.7, threshold=(0.25, 0.75))
    assert node.GetName() == "s3-1 attention, CT"
    for foreground, composite in views(slicer).values():
        assert foreground is node and composite.GetForegroundOpacity() == 0.7
        assert bool(composite.GetLinkedControl()) is linked
    display = node.GetDisplayNode()
    assert (display.GetLowerThreshold(), display.GetUpperThreshold()) == (0.25, 0.75)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)


def test_the_red_view_only(slicer, result):
    show(result, "s2-1")
    node = show(result, "s2-2", all_views=False)
    shown = views(slicer)
    assert shown["Red"][0] is node
    assert shown["Yellow"][0] is None and shown["Green"][0] is None


def test_none_puts_back_what_was_shown_before(slicer, result, add_ct):
    pet = add_ct("PET")
    slicer.util.setSliceViewerLayers(foreground=pet, foregroundOpacity=0.3)
    show(result, "s2-1")
    show(result, "s4-2", opacity=0.9)
    assert show(result, "none") is None
    for foreground, composite in views(slicer).values():
        assert foreground is pet and composite.GetForegroundOpacity() == pytest.approx(0.3)
    show(result, "s2-1")
    slicer.mrmlScene.RemoveNode(pet)
    show(result, "none")
    assert all(foreground is None for foreground, _ in views(slicer).values())


def test_a_deleted_map_gives_way_to_what_was_shown_before(slicer, result, add_ct):
    pet = add_ct("PET")
    slicer.util.setSliceViewerLayers(foreground=pet, foregroundOpacity=0.3)
    for then in ("none", "s2-2"):  # the next map must not forget it either
        slicer.mrmlScene.RemoveNode(show(result, "s2-1" if then == "none" else "s3-1"))
        show(result, then)
        show(result, "none")
        for foreground, composite in views(slicer).values():
            assert foreground is pet and composite.GetForegroundOpacity() == pytest.approx(0.3)


def test_a_foreground_that_the_user_took_away_does_not_come_back(slicer, result, add_ct):
    pet = add_ct("PET")
    slicer.util.setSliceViewerLayers(foreground=pet, foregroundOpacity=0.3)
    show(result, "s2-1")
    for _, composite in views(slicer).values():
        composite.SetForegroundVolumeID(None)
    show(result, "none")
    show(result, "s2-2")
    show(result, "none")
    assert all(foreground is None for foreground, _ in views(slicer).values())


def test_none_leaves_a_view_alone_that_another_volume_was_put_into(slicer, result, add_ct):
    mri, other = add_ct("MRI"), add_ct("other")
    ct = slicer.util.getNode("CT")
    slicer.util.setSliceViewerLayers(background=mri, foreground=None, foregroundOpacity=0.0)
    show(result, "s2-1")  # over its CT
    slicer.util.setSliceViewerLayers(background=other, foreground=None)  # as loading it does
    show(result, "none")
    assert all(composite.GetForegroundOpacity() == 0 for _, composite in views(slicer).values())
    slicer.util.setSliceViewerLayers(background=ct)
    show(result, "s2-2")
    show(result, "none")
    for foreground, composite in views(slicer).values():
        assert foreground is None and composite.GetBackgroundVolumeID() == ct.GetID()
        assert composite.GetForegroundOpacity() == 0


def test_a_restored_scene_view_keeps_its_opacity(slicer, result, add_ct):
    """Slicer's scene views copy opacity and attributes of the time they were made, and leave the layers."""
    pet = add_ct("PET")
    slicer.util.setSliceViewerLayers(foreground=pet, foregroundOpacity=0.3)
    kept = {}
    for _, composite in views(slicer).values():
        kept[composite.GetID()] = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        kept[composite.GetID()].CopyContent(composite)
    show(result, "s2-1")
    for _, composite in views(slicer).values():
        composite.CopyContent(kept[composite.GetID()])
        kept[composite.GetID()].UnRegister(None)
    show(result, "none")
    for foreground, composite in views(slicer).values():
        assert foreground is pet and composite.GetForegroundOpacity() == pytest.approx(0.3)


def test_gates_of_different_grids_have_no_mean(slicer, result):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    gate = maps_of(result)["s2-2"]
    slicer.util.updateVolumeFromArray(gate, slicer.util.arrayFromVolume(gate)[1:].copy())
    assert show(result, "mean s2") is None
    gate.SetAndObserveImageData(None)
    assert show(result, "mean s2") is None
    assert show(result, "mean s3") is not None


def test_a_scene_that_is_added_to_another_puts_back_what_was_shown_too(slicer, result, add_ct, tmp_path):
    """Node IDs change then: those of the file may be those of other nodes here."""
    pet = add_ct("PET")
    slicer.util.setSliceViewerLayers(background=pet, foreground=pet, foregroundOpacity=0.3)
    show(result, "s2-1")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    others = [add_ct(f"other {n}") for n in range(8)]
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    added, pet = slicer.util.getNode("CT segmentation"), slicer.util.getNode("PET")
    for foreground, _ in views(slicer).values():
        assert foreground.GetName() == "s2-1 attention, CT" and foreground not in others
    show(added, "s3-1")
    show(added, "none")
    for foreground, composite in views(slicer).values():
        assert foreground is pet and composite.GetForegroundOpacity() == pytest.approx(0.3)
        assert composite.GetBackgroundVolumeID() == pet.GetID()


def test_a_map_lies_over_its_own_ct(slicer, result, add_ct):
    other, ct = add_ct("CT 2"), result.GetNodeReference("AttentionUNet.Input")
    slicer.util.setSliceViewerLayers(background=other)
    show(result, "s2-1")
    assert {composite.GetBackgroundVolumeID() for _, composite in views(slicer).values()} == {ct.GetID()}
    slicer.util.setSliceViewerLayers(background=other)  # what the user puts there afterwards stays
    show(result, "s3-1")
    assert {composite.GetBackgroundVolumeID() for _, composite in views(slicer).values()} == {other.GetID()}


def test_none_leaves_views_alone_that_show_no_map(slicer, result):
    slicer.util.setSliceViewerLayers(foregroundOpacity=0.4)
    show(result, "none")
    assert {composite.GetForegroundOpacity() for _, composite in views(slicer).values()} == {0.4}


def test_none_after_the_map_of_another_result_shows_that_ct(slicer, result, logic, add_ct, network):
    other = logic.segment(add_ct("CT 2"), device="cpu", predictor=network())
    show(result, "s2-1")
    show(other, "s2-1")
    show(other, "none")
    ct = result.GetNodeReference("AttentionUNet.Input")
    assert {composite.GetBackgroundVolumeID() for _, composite in views(slicer).values()} == {ct.GetID()}


def test_none_puts_the_background_back_too(slicer, result, add_ct):
    pet, other = add_ct("PET"), add_ct("CT 2")
    slicer.util.setSliceViewerLayers(background=pet)
    show(result, "s2-1")
    show(result, "s3-1")
    show(result, "none")
    assert {composite.GetBackgroundVolumeID() for _, composite in views(slicer).values()} == {pet.GetID()}
    show(result, "s2-1")
    slicer.util.setSliceViewerLayers(background=other)  # the user's choice
    show(result, "none")
    assert {composite.GetBackgroundVolumeID() for _, composite in views(slicer).values()} == {other.GetID()}
    show(result, "s2-1")
    slicer.mrmlScene.RemoveNode(other)
    show(result, "none")
    assert not any(composite.GetBackgroundVolumeID() for _, composite in views(slicer).values())


def test_none_leaves_other_foregrounds_alone(slicer, result, add_ct):
    pet = add_ct("PET")
    slicer.util.setSliceViewerLayers(foreground=pet, foregroundOpacity=0.3)
    show(result, "none")
    assert all(foreground is pet for foreground, _ in views(slicer).values())


def test_none_leaves_a_map_that_a_script_put_there(slicer, result):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    mine = maps_of(result)["s2-2"]
    slicer.util.setSliceViewerLayers(foreground=mine, foregroundOpacity=0.5)
    show(result, "none")
    assert [foreground for foreground, _ in views(slicer).values()] == [mine] * len(views(slicer))
    show(result, "s2-1")
    show(result, "none")
    assert [foreground for foreground, _ in views(slicer).values()] == [mine] * len(views(slicer))


def test_colours_can_be_chosen(slicer, result):
    inferno = slicer.util.getNode("vtkMRMLColorTableNodeFileInferno.txt")
    assert show(result, "s2-1", colors=inferno).GetDisplayNode().GetColorNode() is inferno
    assert show(result, "s2-2").GetDisplayNode().GetColorNode().GetName() == "Attention"


def test_the_mean_of_a_scale_is_made_once(slicer, result):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    first, second = (maps_of(result)[name] for name in ("s3-1", "s3-2"))
    slicer.util.updateVolumeFromArray(second, slicer.util.arrayFromVolume(second) * 0.5)
    mean = show(result, "mean s3")
    expected = (slicer.util.arrayFromVolume(first) + slicer.util.arrayFromVolume(second)) / 2
    assert np.allclose(slicer.util.arrayFromVolume(mean), expected)
    assert show(result, "mean s3") is mean and maps_of(result)["mean s3"] is mean
    bounds = [[0.0] * 6, [0.0] * 6]
    for node, box in zip((first, mean), bounds, strict=True):
        node.GetRASBounds(box)
    assert bounds[0] == bounds[1]


def test_a_mean_without_its_gates_is_nothing(slicer, result):
    from AttentionUNetSegmentationLib.scene.map_volumes import maps_of

    for name in ("s3-1", "s3-2"):
        slicer.mrmlScene.RemoveNode(maps_of(result)[name])
    assert show(result, "mean s3") is None and show(result, "s3-1") is None


def test_deleted_colours_and_displays_are_made_again(slicer, result):
    node = show(result, "s2-1")
    slicer.mrmlScene.RemoveNode(node.GetDisplayNode().GetColorNode())
    assert show(result, "s2-1").GetDisplayNode().GetColorNode().GetName() == "Attention"
    slicer.mrmlScene.RemoveNode(node.GetDisplayNode())
    display = show(result, "s2-1", threshold=(0.1, 1.0)).GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax(), display.GetLowerThreshold()) == (0.0, 1.0, 0.1)


def test_the_colours_are_offered_for_saving_and_empty_ones_are_filled_again(slicer, result):
    display = show(result, "s2-1").GetDisplayNode()
    colors = display.GetColorNode()
    assert not colors.GetHideFromEditors()  # what is hidden, the save dialog skips
    colors.SetNumberOfColors(0)  # as of a scene whose colour file is missing
    colors.HideFromEditorsOn()
    assert show(result, "s2-1").GetDisplayNode().GetColorNode() is colors
    assert colors.GetNumberOfColors() == 256 and not colors.GetHideFromEditors()
    rgba = [0.0] * 4
    assert colors.GetColor(255, rgba) and rgba == [1.0] * 4


def test_an_empty_table_that_the_user_chose_gives_way_to_the_maps_own(slicer, result):
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "empty")
    empty.SetTypeToUser()
    empty.SetNumberOfColors(0)
    display = show(result, "s2-1").GetDisplayNode()
    display.SetAndObserveColorNodeID(empty.GetID())
    assert show(result, "s2-1").GetDisplayNode().GetColorNode().GetName() == "Attention"


def test_explanations(result):
    from AttentionUNetSegmentationLib.scene.attention_view import explanation, map_node

    text = explanation("s3-2", map_node(result, "s3-2"))
    assert text.startswith("Sub-gate 2 on the skip connection at 1/4 of the resolution. ")
    assert text.endswith("Coefficients (0.00 to 1.00).")
    assert explanation("mean s4", map_node(result, "mean s4")).startswith(
        "Mean of the gates on the skip connection at 1/8"
    )
    assert "Probability" in explanation("probability spleen")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.97, 0.99, "it passes nearly everything (0.97 to 0.99)"), (0.5, 0.52, "it passes about the same everywhere")],
)
def test_a_flat_gate_is_called_flat(result, low, high, said):
    from AttentionUNetSegmentationLib.scene.attention_view import explanation, map_node
    from AttentionUNetSegmentationLib.scene.map_volumes import MEASURES_ATTRIBUTE, map_measures

    node = map_node(result, "s2-1")
    measures = map_measures(node) | {"mean": (low + high) / 2, "std": 0.004, "low": low, "high": high}
    node.SetAttribute(MEASURES_ATTRIBUTE, json.dumps(measures))
    assert f"This gate hardly varies: {said}" in explanation("s2-1", node)


def test_a_map_that_the_threshold_hides_is_called_hidden(slicer, result):
    from AttentionUNetSegmentationLib.scene.attention_view import explanation
    from AttentionUNetSegmentationLib.scene.map_volumes import MEASURES_ATTRIBUTE, map_measures

    node = show(result, "s2-1", threshold=(0.1, 1.0))
    node.SetAttribute(MEASURES_ATTRIBUTE, json.dumps(map_measures(node) | {"std": 0.03, "low": 0.0, "high": 0.09}))
    assert explanation("s2-1", node).endswith("all coefficients (0.00 to 0.09) lie below the threshold.")
    show(result, "s2-1", threshold=(0.0, 1.0))
    assert explanation("s2-1", node).endswith("Coefficients (0.00 to 0.09).")


def test_names_that_are_cut_in_the_middle_still_tell_the_maps_apart(slicer, logic, add_ct, network):
    from AttentionUNetSegmentationLib.scene.attention_view import choices, map_node

    node = logic.segment(add_ct("CRLM-CT-1004"), device="cpu", predictor=network(), probabilities=True)
    names = [map_node(node, name).GetName() for name in choices(node)[1:]]
    assert names[0] == "s2-1 attention, CRLM-CT-1004"
    assert names[6:8] == ["mean s2 attention, CRLM-CT-1004", "mean s3 attention, CRLM-CT-1004"]
    assert names[-1] == "spleen probability, CRLM-CT-1004"
    assert len({name[:7] for name in names}) == len(names)


def test_shares_say_how_much_of_the_attention_lies_in_an_organ(result):
    from AttentionUNetSegmentationLib.scene.attention_view import map_node, share_text
    from AttentionUNetSegmentationLib.scene.map_volumes import map_measures

    node = map_node(result, "s2-1")
    measures = map_measures(node)
    # the gate passes the ball only; its soft edge, blurred by voxels of 4 mm, lies partly outside the organ
    assert 0.8 < measures["share"]["pancreas"] < 0.9
    text = share_text(node)
    assert text.startswith(f"Share of the attention inside: pancreas {100 * measures['share']['pancreas']:.1f} %")
    assert f"takes {100 * measures['volume_share']['pancreas']:.1f} % of the volume" in text
    assert "spleen" not in text
    assert share_text(None) == "" and share_text(map_node(result, "probability spleen")) == ""
    mean = map_measures(map_node(result, "mean s2"))
    assert mean["share"]["pancreas"] == pytest.approx(measures["share"]["pancreas"])


def test_everything_survives_saving_and_loading(slicer, result, tmp_path):
    from AttentionUNetSegmentationLib.scene.attention_view import choices, map_node, share_text

    before = {name: share_text(map_node(result, name)) for name in choices(result)}
    show(result, "s4-1", opacity=0.4, threshold=(0.2, 0.9))
    assert slicer.util.saveScene(str(tmp_path / "scène.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scène.mrb"))
    [loaded] = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert {name: share_text(map_node(loaded, name)) for name in choices(loaded)} == before
    display = map_node(loaded, "s4-1").GetDisplayNode()
    assert (display.GetLowerThreshold(), display.GetUpperThreshold()) == pytest.approx((0.2, 0.9))
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 1.0)
    assert display.GetColorNode().GetName() == "Attention"
    assert all(foreground.GetName() == "s4-1 attention, CT" for foreground, _ in views(slicer).values())
    show(loaded, "none")
    assert all(foreground is None for foreground, _ in views(slicer).values())

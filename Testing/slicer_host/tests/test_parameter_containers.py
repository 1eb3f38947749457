"""Lists, tuples, dictionaries and unions as parameters: what is read writes its changes to the node."""

from typing import Annotated

import pytest


@pytest.fixture
def parameters(slicer):
    """A parameter node with containers, in the scene."""
    from slicer.parameterNodeWrapper import Choice, Minimum, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        numbers: list[int]
        rows: list[list[int]]
        words: list[Annotated[str, Choice(["yes", "no"])]]
        pair: tuple[Annotated[float, Minimum(0)], str] = (1.5, "mm")
        sizes: dict[str, list[int]]
        nodes: list[slicer.vtkMRMLScalarVolumeNode]
        either: Annotated[int, Minimum(5)] | Annotated[str, Choice(["auto"])] = 5
        maybe: int | None

    return Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))


def again(parameters):
    """Another view of the same node."""
    return type(parameters)(parameters.parameterNode)


def test_changes_of_a_list_are_stored(parameters):
    numbers = parameters.numbers
    numbers.append(4)
    numbers += [1, 7]
    numbers.sort()
    assert numbers.pop(1) == 4
    numbers.insert(0, 9)
    numbers[1] = 2
    assert again(parameters).numbers == [9, 2, 7]
    del numbers[0]
    numbers.reverse()
    numbers *= 2
    assert again(parameters).numbers == [7, 2, 7, 2]
    numbers.clear()
    assert again(parameters).numbers == []
    assert sorted(n for n in parameters.parameterNode.GetParameterNames() if n.startswith("numbers")) == ["numbers_len"]


def test_a_list_that_would_not_be_stored_is_refused(parameters):
    parameters.numbers = (1, 2)
    for make in (lambda: parameters.numbers + [3], lambda: [3] + parameters.numbers, lambda: 2 * parameters.numbers):
        with pytest.raises(NotImplementedError, match="in place"):
            make()
    plain = list(parameters.numbers)
    plain.append(3)
    assert parameters.numbers == [1, 2]


def test_a_refused_item_changes_nothing(parameters):
    parameters.words = ["yes"]
    with pytest.raises(ValueError, match="perhaps"):
        parameters.words.extend(["no", "perhaps"])
    with pytest.raises(TypeError):
        parameters.numbers.append("1")
    assert (parameters.words, parameters.numbers) == (["yes"], [])


def test_inner_lists_are_stored_too(parameters):
    rows = parameters.rows
    rows.append([])
    rows[0] = [1, 2]
    rows[0].append(3)
    parameters.sizes["a"] = [1]
    parameters.sizes["b"] = [2]
    parameters.sizes["a"].append(5)
    other = again(parameters)
    assert other.rows == [[1, 2, 3]]
    assert list(other.sizes.items()) == [("a", [1, 5]), ("b", [2])]
    assert other.sizes.pop("a") == [1, 5]
    assert parameters.sizes == {"b": [2]}


def test_tuples_have_a_length_and_types(parameters):
    assert parameters.pair == (1.5, "mm")
    parameters.pair = (2, "cm")
    assert again(parameters).pair == (2.0, "cm")
    for value, error in (((1.0,), ValueError), ((-1.0, "mm"), ValueError), ((1.0, 1.0), TypeError)):
        with pytest.raises(error):
            parameters.pair = value
    assert parameters.pair == (2.0, "cm")


def test_nodes_in_a_list(slicer, parameters):
    volumes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode") for _ in range(3)]
    parameters.nodes = volumes
    parameters.nodes.remove(volumes[1])
    assert list(again(parameters).nodes) == [volumes[0], volumes[2]]
    with pytest.raises(TypeError):
        parameters.nodes.append(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode"))


def test_a_union_takes_the_first_type_that_fits(parameters):
    assert (parameters.either, parameters.maybe) == (5, None)
    parameters.either, parameters.maybe = "auto", 3
    assert (again(parameters).either, again(parameters).maybe) == ("auto", 3)
    parameters.maybe = None
    for value, error in ((4, ValueError), ("manual", ValueError), (1.5, TypeError), (None, TypeError)):
        with pytest.raises(error):
            parameters.either = value
    assert (again(parameters).either, again(parameters).maybe) == ("auto", None)


def test_observers_hear_once_of_a_change_of_many_items(parameters):
    heard = []
    parameters.AddObserver("ModifiedEvent", lambda *_: heard.append(1))
    numbers = parameters.numbers
    numbers.extend(range(5))
    numbers.reverse()
    assert len(heard) == 2
    assert parameters.numbers == [4, 3, 2, 1, 0]


def test_what_3d_slicer_caches(parameters):
    assert parameters.isCached("numbers") and parameters.isCached("either")
    assert type(parameters).dataType("numbers") == list[int]
    assert parameters.default("pair").value == (1.5, "mm")


def test_two_wrappers_share_a_node_by_prefix(parameters):
    first, second = (type(parameters)(parameters.parameterNode, prefix=prefix) for prefix in ("a", "b"))
    first.numbers, second.numbers = [1], [2, 3]
    assert (first.numbers, second.numbers, parameters.numbers) == ([1], [2, 3], [])


def test_a_type_of_an_extension(slicer):
    from slicer.parameterNodeWrapper import (
        IsInstance,
        Serializer,
        ValidatedSerializer,
        parameterNodeSerializer,
        parameterNodeWrapper,
    )

    @parameterNodeSerializer
    class ComplexSerializer(Serializer):
        @staticmethod
        def canSerialize(type_):
            return type_ is complex

        @staticmethod
        def create(type_):
            return ValidatedSerializer(ComplexSerializer(), [IsInstance(complex)])

        def default(self):
            return 0j

        def isIn(self, parameterNode, name):
            return parameterNode.HasParameter(name)

        def write(self, parameterNode, name, value):
            parameterNode.SetParameter(name, str(value))

        def read(self, parameterNode, name):
            return complex(parameterNode.GetParameter(name))

        def remove(self, parameterNode, name):
            parameterNode.UnsetParameter(name)

    @parameterNodeWrapper()
    class Parameters:
        one: complex
        many: list[complex]

    parameters = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "p"))
    parameters.one = 1 + 2j
    parameters.many.append(3j)
    assert (again(parameters).one, again(parameters).many) == (1 + 2j, [3j])
    assert not parameters.isCached("many")
    with pytest.raises(TypeError):
        parameters.many = [1]

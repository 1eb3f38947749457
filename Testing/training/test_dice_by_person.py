"""Dice in validation is that of people: no one counts more for having more voxels, samples or organs."""

import math

import pytest
import torch

from attention_unet_training.task.dice_by_person import DiceByPerson, dice_of, mean_over_people

A, B = 1, 2  # two organs


def sample(*voxels: int) -> torch.Tensor:
    """A batch of one sample of a few voxels."""
    return torch.tensor(voxels).view(1, 1, 1, 1, -1)


def measured(people, samples, organs=2):
    dice = DiceByPerson(people, organs)
    for n, (predicted, target) in enumerate(samples):
        dice.add(n, sample(*predicted), sample(*target))
    return dice_of(dice.counts)


def test_the_mean_is_over_people_not_over_voxels_or_samples():
    whole, missed = ([A] * 10, [A] * 10), ([0], [A])
    dice = measured(["p", "p", "q"], [whole, whole, missed], organs=1)
    assert dice.flatten().tolist() == [1.0, 0.0]
    assert [float(mean) for mean in mean_over_people(dice)] == [0.5, 0.5]


def test_an_organ_that_a_sample_does_not_show_only_counts_what_is_found_there_wrongly():
    shown, absent, wrong = ([A, A], [A, A]), ([0, 0], [0, 0]), ([A, 0], [0, 0])
    assert float(measured("pp", [shown, absent])[0, 0]) == 1.0
    assert float(measured("pp", [shown, wrong])[0, 0]) == pytest.approx(2 * 2 / (3 + 2))


def test_a_person_without_an_organ_takes_no_part_in_its_mean():
    dice = measured("pq", [([A, B], [A, B]), ([B, 0], [A, 0])])  # q has no B
    assert [[round(x, 6) for x in row if not math.isnan(x)] for row in dice.tolist()] == [[1.0, 1.0], [0.0]]
    of_organs, mean = mean_over_people(dice)
    assert of_organs.tolist() == [0.5, 1.0]
    assert float(mean) == 0.5


def test_people_with_one_organ_count_as_much_as_those_with_two():
    dice = measured("pq", [([A, B], [A, B]), ([0, 0], [A, 0])])
    assert float(mean_over_people(dice)[1]) == 0.5  # over all three organs it would be 2/3


def test_a_person_who_shows_nothing_does_not_count():
    dice = measured("pq", [([A, B], [A, B]), ([0, A], [0, 0])])
    assert dice[1].isnan().all()
    assert float(mean_over_people(dice)[1]) == 1.0
    assert mean_over_people(dice[1:])[1].isnan()


def test_organs_that_a_case_does_not_label_are_not_counted():
    dice = DiceByPerson("p", 2)
    dice.add(0, sample(A, B), sample(A, 0), torch.tensor([[True, False]]))
    assert dice.counts[0].tolist() == [[1, 0], [1, 0], [1, 0]]

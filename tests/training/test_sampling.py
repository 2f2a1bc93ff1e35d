import itertools

import numpy as np
import pytest

from paraspinal_nnunet.training.sampling import INDEPENDENT, BatchSchedule, VoxelIndex, crop_start, distributed_share


@pytest.mark.parametrize(
    ("center", "size", "shape", "start"),
    [
        ((10,), (4,), (20,), (8,)),  # 10 - 4 // 2
        ((10,), (5,), (20,), (8,)),  # 10 - 5 // 2
        ((0,), (4,), (20,), (0,)),
        ((1,), (4,), (20,), (0,)),  # -1 is shifted inside
        ((2,), (4,), (20,), (0,)),
        ((3,), (4,), (20,), (1,)),
        ((19,), (4,), (20,), (16,)),  # 17 is shifted inside
        ((18,), (4,), (20,), (16,)),
        ((17,), (4,), (20,), (15,)),
        ((7,), (20,), (20,), (0,)),
        ((3,), (20,), (15,), (-2,)),  # 5 missing voxels: 2 before, 3 after
        ((9,), (20,), (10,), (-5,)),
        ((4,), (1,), (5,), (4,)),
        ((4, 0, 30), (1, 16, 16), (5, 40, 31), (4, 0, 15)),
    ],
)
def test_crop_start_by_hand(center, size, shape, start):
    assert crop_start(center, size, shape) == start


def test_a_crop_stays_inside_and_holds_its_centre():
    for size, length in itertools.product((1, 3, 4, 8), (8, 9)):
        for center in range(length):
            (start,) = crop_start((center,), (size,), (length,))
            assert 0 <= start <= length - size
            assert start <= center < start + size


class Ranked:
    """Stands for a generator: gives one chosen number and notes its bound."""

    def __init__(self, rank):
        self.rank = rank

    def integers(self, end):
        self.end = int(end)
        return self.rank


LABELS = np.zeros((3, 4, 5), np.int16)
LABELS[0, 1, 2:4] = 1
LABELS[2, 3, 4] = 6
LABELS[2, 0] = 3
LABELS[1, 2, 0] = -1  # outside the image: background


@pytest.mark.parametrize("foreground", [True, False])
def test_every_rank_is_one_voxel(foreground):
    index = VoxelIndex.of(LABELS)
    expected = [tuple(v) for v in np.argwhere((LABELS > 0) == foreground).tolist()]
    generators = [Ranked(rank) for rank in range(len(expected))]
    found = [index.draw(g, foreground, lambda z, y: LABELS[z, y]) for g in generators]
    assert found == expected
    assert {g.end for g in generators} == {len(expected)}
    assert len(expected) == (8 if foreground else 52)
    assert all(type(n) is int for voxel in found for n in voxel)


@pytest.mark.parametrize(("value", "wanted"), [(0, True), (2, False)])
def test_a_case_of_one_kind_gives_that_kind(value, wanted):
    labels = np.full((2, 2, 3), value, np.int16)
    index = VoxelIndex.of(labels)
    assert [index.draw(Ranked(n), wanted, lambda z, y: labels[z, y]) for n in (0, 11)] == [(0, 0, 0), (1, 1, 2)]


def test_the_index_knows_its_shape():
    assert VoxelIndex.of(LABELS).shape == (3, 4, 5)


class Given:
    """Stands for a generator: gives chosen numbers one after another and notes their bounds."""

    def __init__(self, *numbers):
        self.numbers, self.ends = list(numbers), []

    def integers(self, end):
        self.ends.append(int(end))
        return self.numbers.pop(0)


@pytest.mark.parametrize(
    ("muscle", "rank", "voxel", "count"),
    [(0, 1, (0, 1, 3), 2), (1, 4, (2, 0, 4), 5), (2, 0, (2, 3, 4), 1)],
)
def test_a_muscle_is_drawn_before_its_voxel(muscle, rank, voxel, count):
    """The muscles of LABELS are 1, 3 and 6, with 2, 5 and 1 voxels."""
    index = VoxelIndex.of(LABELS, by_muscle=True)
    generator = Given(muscle, rank)
    assert index.draw(generator, True, lambda z, y: LABELS[z, y]) == voxel
    assert generator.ends == [3, count]
    background = Given(51)
    assert index.draw(background, False, lambda z, y: LABELS[z, y]) == (2, 3, 3)
    assert background.ends == [52]


def test_where_there_is_no_muscle_or_it_is_ignored_none_is_drawn():
    labels = np.array([[[0, 7, 7, 2]]], np.int16)
    assert list(VoxelIndex.of(labels, ignore=7, by_muscle=True).muscles) == [2]
    nothing = VoxelIndex.of(np.zeros((1, 1, 3), np.int16), by_muscle=True)
    assert nothing.draw(Given(2), True, lambda z, y: np.zeros(3)) == (0, 0, 2)


CASES = tuple(f"case_{n}" for n in range(10))


def schedule(**changes):
    return BatchSchedule(
        **{"cases": CASES, "batch_size": 12, "crops_per_case": 4, "seed": 0, "fold": 1, "stream": "train"} | changes
    )


def test_cases_are_drawn_without_replacement_and_give_their_crops():
    for number in range(50):
        names = [crop.case for crop in schedule().batch(number)]
        assert names == [name for name in dict.fromkeys(names) for _ in range(4)]
        assert len(set(names)) == 3


def test_a_batch_of_the_paper_takes_all_50_training_cases():
    cases = tuple(f"{n:02d}" for n in range(50))
    names = [crop.case for crop in schedule(cases=cases, batch_size=200).batch(0)]
    assert all(names.count(case) == 4 for case in cases)


@pytest.mark.parametrize(
    ("count", "size", "crops"), [(50, 10, 1), (1000, 200, 4), (51, 200, 4), (7, 12, 4), (10, 27, 1)]
)
def test_every_pass_shows_every_case_once(count, size, crops):
    """The paper's 3D arm and 2D arm with augmentation, a fold of 51, and batches that end in the middle of a pass."""
    cases = tuple(f"{n:04d}" for n in range(count))
    drawn = []
    for number in range(120):
        drawn += [crop.case for crop in schedule(cases=cases, batch_size=size, crops_per_case=crops).batch(number)][
            ::crops
        ]
    passes = [drawn[start : start + count] for start in range(0, len(drawn) - count + 1, count)]
    assert len(passes) >= 5
    assert all(sorted(one) == list(cases) for one in passes)
    assert len({tuple(one) for one in passes}) > 0.9 * len(passes)


@pytest.mark.parametrize("count", [3, 7, 10, 51])
def test_no_batch_takes_a_case_twice_where_there_are_enough(count):
    cases = tuple(f"{n:02d}" for n in range(count))
    for per_batch in range(1, count + 1):
        for number in range(0, 40, 3):
            names = [c.case for c in schedule(cases=cases, batch_size=per_batch, crops_per_case=1).batch(number)]
            assert len(set(names)) == per_batch


def test_orders_of_passes_are_random():
    """Each of 10 cases comes first in a tenth of 2,000 passes: mean 200, SD sqrt(2000 * .1 * .9) = 13.4."""
    first = [schedule(batch_size=10, crops_per_case=1).batch(number)[0].case for number in range(2000)]
    assert all(abs(first.count(case) - 200) < 5 * 13.5 for case in CASES)


def test_the_rule_of_older_trainings_is_kept_for_them():
    """What 0.1.0 drew: a permutation of the cases from (seed, fold, stream, batch)."""
    names = [c.case for c in schedule(rule=INDEPENDENT, batch_size=3, crops_per_case=1).batch(5)]
    order = np.random.default_rng((0, 1, 0, 5)).permutation(10)
    assert names == [CASES[i] for i in order[:3]]


def test_too_few_cases_are_drawn_evenly():
    names = [crop.case for crop in schedule(cases=("a", "b"), batch_size=20).batch(3)]
    assert sorted(names.count(c) for c in "ab") == [8, 12]  # 5 draws of 4 crops


def test_an_uneven_batch_ends_with_fewer_crops_of_the_last_case():
    names = [crop.case for crop in schedule(batch_size=6).batch(0)]
    assert [names.count(n) for n in dict.fromkeys(names)] == [4, 2]


def test_all_cases_come_equally_often():
    counts = dict.fromkeys(CASES, 0)
    for number in range(3000):
        for crop in schedule(batch_size=3, crops_per_case=1).batch(number):
            counts[crop.case] += 1
    # 9000 draws; each count has mean 900 and a standard deviation of sqrt(3000 * 0.3 * 0.7) = 25
    assert all(abs(count - 900) < 5 * 25 for count in counts.values())


def test_a_batch_depends_on_its_number_alone():
    late = schedule().batch(7)
    fresh = schedule()
    for number in range(7):
        fresh.batch(number)
    assert fresh.batch(7) == late
    assert late != fresh.batch(8)


@pytest.mark.parametrize("change", [{"seed": 1}, {"fold": 0}, {"stream": "val"}])
def test_seed_fold_and_stream_change_it(change):
    assert schedule(**change).batch(0) != schedule().batch(0)


def test_no_two_crops_share_random_numbers():
    crops = [crop for number in range(20) for crop in schedule().batch(number)]
    assert len({crop.entropy for crop in crops}) == len(crops)
    assert len({crop.generator().random() for crop in crops}) == len(crops)


def test_a_crop_always_has_the_same_numbers():
    crop = schedule().batch(2)[5]
    assert crop.generator().random() == crop.generator().random()


@pytest.mark.parametrize(("size", "world"), [(200, 1), (200, 3), (10, 4), (7, 7), (12, 5)])
def test_the_processes_shares_make_the_whole_batch(size, world):
    whole = schedule(batch_size=size).batch(4)
    shares = [schedule(batch_size=size).batch(4, distributed_share(size, rank, world)) for rank in range(world)]
    assert [crop for share in shares for crop in share] == whole
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_no_centre_is_drawn_from_ignored_voxels():
    labels = np.zeros((1, 2, 4), np.int16)
    labels[0, 0] = [1, 7, 0, 7]
    labels[0, 1] = [7, 2, 7, 7]
    index = VoxelIndex.of(labels, ignore=7)
    rng = np.random.default_rng(0)
    drawn = {kind: {index.draw(rng, kind, lambda z, y: labels[z, y]) for _ in range(50)} for kind in (True, False)}
    assert drawn == {True: {(0, 0, 0), (0, 1, 1)}, False: {(0, 0, 2)}}

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from monai.losses import DiceCELoss, DiceLoss

from paraspinal_nnunet.training.losses import build_loss


def logits_and_labels(spatial):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 7, *spatial, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 7, (5, 1, *spatial), generator=generator)
    labels[0] = 0  # a crop without any muscle
    return logits, labels


def value_and_gradient(loss, logits, labels):
    logits = logits.clone().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    return value.detach(), logits.grad


@pytest.mark.parametrize("spatial", [(12, 10), (4, 6, 5)])
@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_value_and_gradient_are_monais(spatial, dtype):
    logits, labels = logits_and_labels(spatial)
    ours = value_and_gradient(build_loss("dice_ce"), logits, labels.to(dtype))
    theirs = value_and_gradient(DiceCELoss(softmax=True, to_onehot_y=True), logits, labels)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["dice_ce", "dice", "ce"])
def test_single_precision_is_monais_within_a_millionth(name):
    """Logits as large as a trained network's; crops of 96 x 96."""
    generator = torch.Generator().manual_seed(2)
    logits = 8 * torch.randn(4, 7, 96, 96, generator=generator)
    labels = torch.randint(0, 7, (4, 1, 96, 96), generator=generator)
    labels[1] = 0
    reference = {
        "dice_ce": DiceCELoss(softmax=True, to_onehot_y=True),
        "dice": DiceLoss(softmax=True, to_onehot_y=True),
        "ce": lambda z, y: torch.nn.functional.cross_entropy(z, y[:, 0].long()),
    }[name]
    ours, theirs = (value_and_gradient(loss, logits, labels) for loss in (build_loss(name), reference))
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
    assert (ours[1] - theirs[1]).abs().max() <= 1e-6 * theirs[1].abs().max()


@pytest.mark.parametrize("ignore", [None, 3])
def test_the_gradient_is_that_of_the_value(ignore):
    """Against numerical differences."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 3, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3 if ignore is None else 4, (2, 1, 3, 4), generator=generator)
    loss = build_loss("dice_ce", ignore_label=ignore)
    assert torch.autograd.gradcheck(lambda z: 3 * loss(z, labels), (logits,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    logits, labels = logits_and_labels((12, 10))
    value, gradient = value_and_gradient(build_loss("dice_ce"), logits.to(dtype), labels)
    expected, _ = value_and_gradient(build_loss("dice_ce"), logits.to(dtype).float(), labels)
    assert (value.dtype, gradient.dtype) == (torch.float32, dtype)
    assert value == expected


def test_nothing_of_the_size_of_one_hot_labels_is_kept_but_the_probabilities():
    logits, labels = logits_and_labels((12, 10))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        build_loss("dice_ce")(logits.requires_grad_(), labels)
    assert [shape for shape in kept if shape.numel() >= logits.numel()] == [torch.Size((5, 7, 120))]


def test_it_is_dice_plus_cross_entropy():
    logits, labels = logits_and_labels((6, 6))
    probabilities = logits.softmax(1)
    truth = torch.nn.functional.one_hot(labels[:, 0], 7).permute(0, 3, 1, 2)
    both = (probabilities * truth).sum((2, 3))
    either = (probabilities + truth).sum((2, 3))
    dice = (1 - (2 * both + 1e-5) / (either + 1e-5)).mean()
    entropy = -(probabilities.log() * truth).sum(1).mean()
    assert build_loss("dice_ce")(logits, labels).item() == pytest.approx((dice + entropy).item(), rel=1e-12)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_parts_weighted_by_their_size_make_the_whole(cut):
    logits, labels = logits_and_labels((6, 8))
    loss = build_loss("dice_ce")
    value, gradient = value_and_gradient(loss, logits, labels)
    parts = [value_and_gradient(loss, logits[s], labels[s]) for s in (slice(0, cut), slice(cut, 5))]
    weights = (cut / 5, (5 - cut) / 5)
    assert sum(w * part[0] for w, part in zip(weights, parts, strict=True)) == pytest.approx(value.item(), rel=1e-12)
    joined = torch.cat([w * part[1] for w, part in zip(weights, parts, strict=True)])
    torch.testing.assert_close(joined, gradient, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", ["dice_ce", "dice", "ce"])
def test_ignored_voxels_count_in_neither_half(name):
    """MONAI's DiceLoss(ignore_index=) and torch's cross_entropy(ignore_index=) are the reference."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 6, 7, generator=generator, requires_grad=True)
    labels = torch.randint(0, 5, (2, 1, 6, 7), generator=generator, dtype=torch.int16)  # 4 is ignored
    loss = build_loss(name, ignore_label=4)(logits, labels)
    dice = DiceLoss(softmax=True, to_onehot_y=True, include_background=True, ignore_index=4)(logits, labels)
    ce = torch.nn.functional.cross_entropy(logits, labels[:, 0].long(), ignore_index=4)
    expected = {"dice_ce": dice + ce, "dice": dice, "ce": ce}[name]
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (reference,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient, reference, rtol=1e-5, atol=1e-7)
    assert not gradient.movedim(1, -1)[labels[:, 0] == 4].any()

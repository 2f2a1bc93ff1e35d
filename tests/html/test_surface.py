"""Surfaces of the muscles: closed, in mm whatever the spacing, and turned as the marks say."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

from paraspinal_nnunet.anatomy import BY_LABEL
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.html.surface import mesh as surface
from paraspinal_nnunet.html.surface.mesh import surface_meshes, surface_net, vertex_normals
from paraspinal_nnunet.html.surface.view import VIEWS, camera, snapshot, surface_html
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS

AFFINE = np.array([[1.0, 0, 0, -40], [0, 1.5, 0, 20], [0, 0, 5, -30], [0, 0, 0, 1]])
SHAPE = (80, 50, 20)


def balls() -> np.ndarray:
    """Ellipsoids that are balls of 15 mm in space: right multifidus at large x, left at small x, not on any border."""
    labels = np.zeros(SHAPE, np.uint8)
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    for label, x in ((1, 20.0), (2, -18.0)):
        labels[np.linalg.norm(places - [x, 57, 17], axis=-1) < 15] = label
    return labels


def shared_edges(quads: np.ndarray) -> np.ndarray:
    """How often each directed edge has its opposite."""
    edges = np.concatenate([quads[:, [n, (n + 1) % 4]] for n in range(4)])
    keys = edges[:, 0].astype(np.int64) * (edges.max() + 1) + edges[:, 1]
    opposite = edges[:, 1].astype(np.int64) * (edges.max() + 1) + edges[:, 0]
    return np.isin(keys, opposite)


def test_net_of_a_plane_lies_on_it_and_faces_the_lower_side():
    field = np.broadcast_to(np.array([1.0, 0.8, 0.2, 0.0])[:, None, None], (4, 5, 5))
    vertices, quads = surface_net(field, 0.5)
    assert np.allclose(vertices[:, 0], 1.5)  # halfway between 0.8 and 0.2
    assert len(quads) == 9  # the 3 x 3 inner edges of 5 x 5
    a, b, _, d = (vertices[quads[:, n]] for n in range(4))
    assert (np.cross(b - a, d - a)[:, 0] > 0).all()  # outside lies at larger x


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_balls_in_space(axes, flips):
    labels, affine = balls(), AFFINE.copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            labels = np.flip(labels, axis)
            affine[:3, 3] += affine[:3, axis] * (SHAPE[axis] - 1)
            affine[:3, axis] *= -1
    meshes = surface_meshes(labels.transpose(axes), affine[:, [*axes, 3]])
    assert [mesh.label for mesh in meshes] == [1, 2]
    for mesh, x in zip(meshes, (20.0, -18.0), strict=True):
        assert mesh.name == BY_LABEL[mesh.label].display_name
        assert shared_edges(mesh.quads).all()  # closed, and every face turned the same way
        assert len(mesh.vertices_mm) - len(mesh.quads) == 2  # Euler's number of a ball, with E = 2 F
        assert np.allclose(mesh.vertices_mm.mean(axis=0), [x, 57, 17], atol=0.7)
        radii = np.linalg.norm(mesh.vertices_mm - [x, 57, 17], axis=1)
        assert abs(np.median(radii) - 15) < 1.2  # a voxel is 5 mm high
        expected = (labels == mesh.label).sum() * 7.5e-3  # ml; voxels are 1 x 1.5 x 5 mm
        assert mesh.volume_ml == pytest.approx(expected, rel=0.08)
        outwards = (mesh.vertices_mm - [x, 57, 17]) / radii[:, None]
        assert ((vertex_normals(mesh) * outwards).sum(axis=1) > 0.5).all()


def test_muscles_at_the_border_are_closed_too():
    labels = np.zeros((20, 20, 6), np.uint8)
    labels[:12, 5:15] = 3
    (mesh,) = surface_meshes(labels, np.diag([2.0, 2.0, 5.0, 1.0]))
    assert shared_edges(mesh.quads).all()


def test_nothing_and_specks():
    assert surface_meshes(np.zeros(SHAPE, np.uint8), AFFINE) == []
    speck = np.zeros(SHAPE, np.uint8)
    speck[40, 25, 10] = 1
    assert surface_meshes(speck, AFFINE) == []
    with pytest.raises(GeometryError, match="three dimensions"):
        surface_meshes(np.zeros((3, 3), np.uint8), AFFINE)


@pytest.mark.slow
def test_scattered_voxels_are_drawn_coarsely(monkeypatch):
    scattered = (np.random.default_rng(0).random((300, 300, 40)) < 0.5).astype(np.uint8)
    affine = np.diag([0.8, 0.8, 5, 1])
    (coarse,) = surface_meshes(scattered, affine)
    assert len(coarse.quads) <= surface.MOST_QUADS
    monkeypatch.setattr(surface, "MOST_QUADS", np.inf)
    (fine,) = surface_meshes(scattered, affine)
    assert len(fine.quads) > 150_000
    (twice,) = surface_meshes(scattered, affine, step_mm=2 * surface.STEP_MM)
    assert np.array_equal(twice.quads, coarse.quads)


def test_camera():
    front, feet = camera(*VIEWS["front"]), camera(*VIEWS["feet"])
    assert np.allclose(front, [[-1, 0, 0], [0, 0, 1], [0, 1, 0]])  # the right to the left, head up, seen from the front
    assert np.allclose(feet, [[-1, 0, 0], [0, 1, 0], [0, 0, -1]])  # as axial slices are shown
    assert np.allclose(camera(*VIEWS["right"])[2], [1, 0, 0])
    assert np.allclose(camera(*VIEWS["left"])[2], [-1, 0, 0])
    turned = camera(33, 21)
    assert np.allclose(turned @ turned.T, np.eye(3))
    assert np.linalg.det(turned) == pytest.approx(1)


@pytest.mark.parametrize(("view", "right_is_left"), [("front", True), ("behind", False), ("feet", True)])
def test_snapshot_shows_the_sides(view, right_is_left):
    picture = np.asarray(snapshot(surface_meshes(balls(), AFFINE), view, height_px=120)).astype(int)
    hues = {}
    for label in (1, 2):
        colour = np.array(LABEL_COLOURS[label])
        bright = picture.sum(axis=-1) / colour.sum()
        near = np.abs(picture - bright[..., None] * colour).sum(axis=-1) < 12
        hues[label] = np.nonzero(near & (bright > 0.3) & (bright < 1.05))[1].mean()
    assert (hues[1] < hues[2]) == right_is_left


def test_page_holds_the_mesh():
    meshes = surface_meshes(balls(), AFFINE)
    page = surface_html(meshes)
    assert page.isascii()
    assert not re.search(r"https?://|@import|url\(|href|innerHTML", page)
    data = json.loads(re.search(r'json">(.*?)</script>', page)[1])
    for mesh, packed in zip(meshes, data["meshes"], strict=True):
        content = zlib.decompress(base64.b64decode(packed["data"]))
        numbers = np.cumsum(np.frombuffer(content, np.uint8).reshape(4, -1).T.copy().view("<i4").ravel())
        split = 3 * packed["vertices"]
        vertices = numbers[:split].reshape(3, -1).T * data["unit"] + data["centre"]
        assert np.allclose(vertices, mesh.vertices_mm, atol=0.11)
        assert (mesh.quads == numbers[split:].reshape(4, -1).T).all()

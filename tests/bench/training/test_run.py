"""One cell on a set of files that has something wrong: the file is named, or what was skipped is counted."""

import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ann.build import network
from ann.catalogue import NETWORKS
from ann.spec import Size
from bench.training import run
from bench.training.data import open_dataset
from experiments.recipes import recipe_for
from experiments.spec import Training, TrainingJob

HEIGHT, WIDTH = 24, 32
RECIPE = replace(recipe_for("half", "camvid"), crop=Size(height=24, width=24), batch=2)


def camvid(root):
    """Write four images to train on and one to judge."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1)):
        for folder, shape in ((split, (HEIGHT, WIDTH, 3)), (f"{split}annot", (HEIGHT, WIDTH))):
            (root / folder).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 11, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{number}.png")


@pytest.fixture
def root(tmp_path):
    camvid(tmp_path / "set")
    return tmp_path / "set"


def measure(root, folder=None, **changes):
    training = Training(dataset="camvid", root=str(root), recipe=RECIPE, iterations=4)
    cell = TrainingJob(
        experiment="test",
        axes={"network": "paper/apnb"},
        subject=replace(NETWORKS["paper/apnb"], num_classes=11, backbone="tiny"),
        size=Size(height=HEIGHT, width=WIDTH),
        training=replace(training, **changes),
    )
    with torch.random.fork_rng():
        return run.train_cell(cell, "cpu", folder, code="0")


def overwrite(path, pixels):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root, split: (root / split / "0.png").write_bytes(b"\x89PNG torn"),
            "can't be read",
        ),
        (
            lambda root, split: overwrite(
                root / f"{split}annot/0.png", np.full((HEIGHT, WIDTH), 77)
            ),
            r"has the class ids \[77\], which camvid does not",
        ),
        (
            lambda root, split: overwrite(root / f"{split}annot/0.png", np.zeros((5, 7))),
            r"is 7x5, but its image",
        ),
    ],
    ids=["corrupt", "out of range", "another size"],
)
def test_a_broken_file_ends_the_cell_and_is_named(root, split, spoil, message):
    spoil(root, split)
    with pytest.raises(ValueError, match=rf"{split}(annot)?/0\.png {message}"):
        measure(root)


def test_crops_of_ignored_pixels_alone_are_counted_in_the_record(root):
    for number in (0, 1):
        overwrite(root / f"trainannot/{number}.png", np.full((HEIGHT, WIDTH), 11))
    found = measure(root)
    # Four iterations of two crops are two visits of each of the four images.
    assert found.empty_crops == 4
    assert all(np.isfinite(loss) for _, loss in found.losses)


def test_a_set_without_any_label_is_all_skipped_and_never_nan(root):
    for path in sorted(root.glob("*annot/*.png")):
        overwrite(path, np.full((HEIGHT, WIDTH), 11))
    found = measure(root)
    assert found.empty_crops == 8
    assert {loss for _, loss in found.losses} == {0.0}
    assert sum(map(sum, found.confusion)) == 0


def test_pictures_that_cannot_be_written_are_named_and_leave_nothing_behind(root, tmp_path):
    path = tmp_path / "pictures" / "a.npz"
    net = network("paper/baseline", backbone="tiny", num_classes=11)
    images = open_dataset("camvid", root, "val")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.npz: the pictures could not be written \(File too"):
            run.save_pictures(path, net, images, protocol="whole", device="cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(path.parent.iterdir()) == []


def test_a_cell_whose_checkpoint_cannot_be_saved_names_it(root, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"training\.pt: the checkpoint could not be saved"):
            measure(root, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_the_door_loads_torch_with_the_first_name_alone():
    code = (
        "import sys, bench.training, bench.ablations; print('torch' in sys.modules); "
        "from bench.training import train_cell; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_name_that_the_door_has_not_is_refused():
    with pytest.raises(ImportError, match="cannot import name 'train'"):
        from bench.training import train  # noqa: F401


def test_a_training_goes_on_with_the_checkpoint_of_its_code_alone(root, tmp_path):
    first = measure(root, tmp_path)
    (folder,) = (tmp_path / "checkpoints").iterdir()
    assert folder.name.endswith("-0")
    assert measure(root, tmp_path) == first  # of which the times are among what was read

"""What mmsegmentation itself predicts, by its own configurations, is what its protocols here predict."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ann import checkpoints
from ann.catalogue import NETWORKS
from ann.network import make_network
from ann.spec import Size
from bench.analysis import mean_iou
from bench.training.data.images import LabelledImages, Pair
from bench.training.data.readers import DATASET_LAYOUTS
from bench.training.evaluate import evaluate
from bench.training.protocols import PROTOCOLS
from bench.training.resizing import resize_as_opencv
from experiments.training import DATASETS, usual_evaluation

pytest.importorskip("mmseg", reason="mmsegmentation is not installed; nox -s interop has it")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def pictures(folder, *sizes):
    """Smooth random patches, as JPEG."""
    draw, paths = np.random.default_rng(0), []
    for number, (height, width) in enumerate(sizes):
        patches = draw.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), dtype=np.uint8)
        path = folder / f"{number}.jpg"
        Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC).save(
            path, quality=95
        )
        paths.append(path)
    return paths


def ours_and_theirs(folder, *, dataset, network, config, sizes, evaluation=None):
    """Evaluate here what mmsegmentation labelled there with the same random weights; matrix and protocol."""
    from tests.interop.peers import augmented_labels_of, labels_of, segmentor

    torch.manual_seed(0)
    peer = segmentor(config)
    torch.save({"state_dict": peer.state_dict()}, folder / "weights.pth")
    classes = DATASET_LAYOUTS[dataset].classes()
    ids = np.array(
        [next(i for i, t in classes.ids.items() if t == c) for c in range(len(classes.names))]
    )
    pairs = []
    for path in pictures(folder, *sizes):
        augmented = evaluation is not None and evaluation.endswith("multi-scale-flip")
        seen = augmented_labels_of(peer, path) if augmented else labels_of(peer, path)
        label = path.with_suffix(".png")
        Image.fromarray(ids[seen].astype(np.uint8)).save(label)
        pairs.append(Pair(path, label))
    data = LabelledImages(name=dataset, split="val", pairs=tuple(pairs), classes=classes)
    name = evaluation or usual_evaluation("mmseg", dataset)
    corners = PROTOCOLS[name].align_corners
    spec = replace(NETWORKS[network], num_classes=DATASETS[dataset].num_classes)
    net = make_network(spec if corners is None else replace(spec, align_corners=corners))
    checkpoints.load(net, folder / "weights.pth")
    return evaluate(net, data, protocol=name)


CASES = {
    # Its version 1 augments the file's own size on every set.
    "voc2012aug": {
        "network": "mmseg/ann-r50",
        "config": "ann/ann_r50-d8_4xb4-20k_voc12aug-512x512.py",
        "sizes": [(96, 130)],
        "evaluation": "mmseg-multi-scale-flip",
    },
    "ade20k": {
        "network": "mmseg/ann-r50",
        "config": "ann/ann_r50-d8_4xb4-80k_ade20k-512x512.py",
        "sizes": [(256, 256), (300, 400)],
    },
    "voc2012": {
        "network": "mmseg/ann-r50",
        "config": "ann/ann_r50-d8_4xb4-20k_voc12aug-512x512.py",
        "sizes": [(166, 250), (250, 166)],
    },
    "pascal-context-59": {
        "network": "mmseg/psp-r50",
        "config": "pspnet/pspnet_r50-d8_4xb4-40k_pascal-context-59-480x480.py",
        "sizes": [(166, 250)],
    },
    "cityscapes": {
        "network": "mmseg/dnl-r50",
        "config": "dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-769x769.py",
        "sizes": [(512, 1024)],
        "evaluation": "mmseg-slide-769",
    },
}


@pytest.mark.parametrize("dataset", CASES)
def test_labels_that_mmsegmentation_predicts_are_predicted_here(dataset, tmp_path):
    matrix = ours_and_theirs(tmp_path, dataset=dataset, **CASES[dataset])
    pixels = float(matrix.counts.diagonal().sum() / matrix.counts.sum())
    sys.stdout.write(
        f"{dataset}: mIoU {mean_iou(matrix.rows()):.3f} %, pixels {100 * pixels:.4f} %\n"
    )
    assert mean_iou(matrix.rows()) >= 99
    assert pixels >= 0.9999


@pytest.mark.parametrize("before", [(256, 256), (300, 400), (37, 53), (1, 7), (512, 1024)])
@pytest.mark.parametrize("after", [(512, 683), (150, 200), (256, 512), (91, 20), (1, 1)])
def test_pixels_are_resized_as_by_opencv(before, after):
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed; nox -s interop has it")
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    expected = cv2.resize(image, after[::-1], interpolation=cv2.INTER_LINEAR)
    size = Size(height=after[0], width=after[1])
    found = resize_as_opencv(torch.from_numpy(image).permute(2, 0, 1)[None], size)
    assert torch.equal(found[0].permute(1, 2, 0), torch.from_numpy(expected))

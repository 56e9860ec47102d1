"""mmsegmentation's own networks, on a machine without mmcv's compiled operators."""

import sys
import types
from pathlib import Path


class Empty(types.ModuleType):
    """In the place of mmcv's compiled operators, which these networks do not call."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def config(name):
    """Read a configuration of mmsegmentation's, with batch norm in the place of that over several GPUs."""
    for each in ("mmcv.ops", "mmcv.ops.point_sample"):
        sys.modules.setdefault(each, Empty(each)).__path__ = []
    import mmseg
    from mmengine.config import Config

    found = Config.fromfile(Path(mmseg.__file__).parent / ".mim" / "configs" / name)
    _unsync(found.model)
    found.model.pretrained = None
    return found


def _unsync(node):
    for key, value in node.items():
        if key == "norm_cfg":
            value["type"] = "BN"
        elif isinstance(value, dict):
            _unsync(value)


def segmentor(name):
    """Build the network of a configuration, with random weights, for inference."""
    found = config(name)
    from mmseg.apis import init_model  # imports those operators

    return init_model(found, device="cpu")


def labels_of(peer, path):
    """Classes [h, w] that a network of mmsegmentation's sees in an image, by its own test pipeline."""
    from mmseg.apis import inference_model

    return inference_model(peer, str(path)).pred_sem_seg.data[0].numpy()


def augmented_labels_of(peer, path):
    """Classes [h, w] that it sees with its own test-time augmentation, by scales and flips."""
    from mmengine.dataset import Compose
    from mmseg.models import SegTTAModel

    views = Compose(peer.cfg.tta_pipeline[:1] + _without_labels(peer.cfg.tta_pipeline[1]))
    made = views({"img_path": str(path)})
    batches = {key: [[each] for each in values] for key, values in made.items()}
    (found,) = SegTTAModel(module=peer).test_step(batches)
    return found.pred_sem_seg.data[0].numpy()


def _without_labels(augmentation):
    steps = [
        [each for each in step if each.type != "LoadAnnotations"]
        for step in augmentation.transforms
    ]
    return [{**augmentation, "transforms": [step for step in steps if step]}]

"""Files that the frameworks themselves write: `nox -s interop` installs them."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from ann.catalogue import NETWORKS
from ann.checkpoints import load, to_layout
from ann.network import make_network

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # theirs
    pytest.mark.slow,
]
CLASSES = 5


def network(seed=0):
    torch.manual_seed(seed)
    spec = replace(NETWORKS["mmseg/ann-r50"], backbone="tiny", num_classes=CLASSES)
    return make_network(spec)


def state_of(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def equal(net, state):
    found = net.state_dict()
    return all(torch.equal(found[key], value) for key, value in state.items())


@pytest.fixture
def quiet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runner_file(quiet):
    """What mmengine's Runner saves after two steps with its EMAHook."""
    pytest.importorskip("mmengine", reason="mmengine is not installed; nox -s interop has it")
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Segmentor(BaseModel):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, image, label, mode="loss"):
            main, _ = self.network(torch.stack(list(image)))
            return {"loss_ce": nn.functional.cross_entropy(main, torch.stack(list(label)))}

    data = [(torch.randn(3, 32, 32), torch.zeros(32, 32, dtype=torch.long)) for _ in range(4)]
    examples = [{"image": image, "label": label} for image, label in data]
    model = Segmentor()
    runner = Runner(
        model=model,
        work_dir=str(quiet),
        train_dataloader=DataLoader(examples, batch_size=2),
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        train_cfg={"by_epoch": True, "max_epochs": 1},
        custom_hooks=[{"type": "EMAHook", "momentum": 0.4}],
        default_scope="mmengine",
        experiment_name="test",
    )
    runner.train()
    return quiet / "epoch_1.pth", state_of(model.network)


def test_a_file_of_mmengine_s_runner_is_read_with_its_averaged_weights(runner_file):
    path, last = runner_file
    net = network(seed=1)
    layout, notes = load(net, path)
    truth = torch.load(path, weights_only=False)
    averaged = {k.removeprefix("network."): v for k, v in truth["state_dict"].items()}
    assert layout == "own"
    assert equal(net, averaged)
    assert not equal(net, last)
    assert notes[0].startswith("averaged weights: mmengine's EMAHook")
    assert notes[0].endswith("batch norm's running statistics are those of the last step")
    statistics = {key: value for key, value in last.items() if "running" in key}
    assert equal(net, statistics)


def test_a_file_of_lightning_is_read(quiet):
    lightning = pytest.importorskip(
        "lightning", reason="lightning is not installed; nox -s interop has it"
    )

    class Module(lightning.LightningModule):
        def __init__(self, settings):
            super().__init__()
            self.save_hyperparameters()
            self.net = network()
            self.loss = nn.CrossEntropyLoss(weight=torch.ones(CLASSES))

        def training_step(self, images, _):
            main, _ = self.net(images)
            return self.loss(main, torch.zeros(len(images), 32, 32, dtype=torch.long))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quietly = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(
        max_steps=2, accelerator="cpu", enable_checkpointing=False, **quietly
    )
    module = Module(argparse.Namespace(root=Path("data")))
    trainer.fit(module, DataLoader([torch.randn(3, 32, 32)] * 4, batch_size=2))
    trainer.save_checkpoint(quiet / "last.ckpt")
    net = network(seed=1)
    layout, notes = load(net, quiet / "last.ckpt")
    assert (layout, notes) == ("own", ("left aside, outside of 'net': loss.weight",))
    assert equal(net, state_of(module.net))


def test_a_file_of_accelerate_is_read(quiet):
    accelerate = pytest.importorskip(
        "accelerate", reason="accelerate is not installed; nox -s interop has it"
    )
    net, other = network(), network(seed=1)
    accelerator = accelerate.Accelerator(cpu=True)
    accelerator.prepare(torch.compile(net))
    accelerator.save_state(str(quiet))
    assert load(other, quiet / "model.safetensors") == ("own", ())
    assert equal(other, state_of(net))


def test_a_file_of_deepspeed_is_read(quiet, monkeypatch):
    deepspeed = pytest.importorskip("deepspeed", reason="deepspeed is not installed")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29513")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    net, other = network(), network(seed=1)
    settings = {
        "train_batch_size": 2,
        "optimizer": {"type": "SGD", "params": {"lr": 0.1}},
    }
    engine, *_ = deepspeed.initialize(
        model=net, model_parameters=net.parameters(), config=settings, dist_init_required=True
    )
    engine.save_checkpoint(str(quiet), tag="last")
    assert load(other, quiet / "last" / "mp_rank_00_model_states.pt").layout == "own"
    assert equal(other, state_of(net))


def test_weights_of_mmsegmentation_s_own_model_are_its_network(quiet):
    """The official zoo's layout, made by mmsegmentation itself: logits of both are the same."""
    pytest.importorskip("mmseg", reason="mmsegmentation is not installed; nox -s interop has it")
    from tests.interop.peers import segmentor

    peer = segmentor("ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py")
    torch.save({"meta": {}, "state_dict": peer.state_dict()}, quiet / "peer.pth")
    net = make_network(NETWORKS["mmseg/ann-r50"]).eval()
    assert load(net, quiet / "peer.pth").layout == "mmseg"
    assert to_layout(net, "mmseg").keys() == peer.state_dict().keys()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = peer.encode_decode(images, [{"img_shape": (64, 96)}])
        found = net(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

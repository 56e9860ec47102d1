"""A published checkpoint, judged on a set, so that whoever has the files can check the tables of the model zoo."""

from pathlib import Path

from ann import build, checkpoints
from ann.network import SegmentationNetwork
from bench.records import Accuracy, Measures, Record, append_line
from bench.run import RECORDS_FILE, environment_of, make_record
from bench.training.evaluate import evaluate, find_protocol
from bench.training.run import groups, open_split
from experiments.spec import Evaluation
from experiments.training import DATASETS, Setting

EXPERIMENT = "evaluation"


def evaluate_checkpoint(
    checkpoint: Path,
    network: str,
    setting: Setting,
    *,
    protocol: str | None,
    device: str,
    out: Path,
) -> Record:
    """Load a checkpoint into a network, judge it on the validation images, write and return the record.

    Args:
        checkpoint: official or mmseg layout; read with weights only, strictly.
        network: a name in `ann.build.network_names()`.
        setting: of which the data set and its folder count.
        protocol: a name in `bench.training.protocols`; None for the data set's usual one.
        device: `cpu` or `cuda`.
        out: folder of the records.

    Raises:
        ValueError: unknown network or protocol, a checkpoint that does not fit, or a missing set.
    """
    data = DATASETS[setting.dataset]
    spec = build.network_spec(network, num_classes=data.num_classes)
    if setting.backbone is not None:
        spec = build.network_spec(network, num_classes=data.num_classes, backbone=setting.backbone)
    chosen = protocol or data.evaluation
    find_protocol(chosen)
    judged = open_split(setting.training(), "val")
    made = build.network(spec)
    assert isinstance(made, SegmentationNetwork), "build.network makes nothing else"
    checkpoints.load(made, checkpoint)
    matrix = evaluate(made, judged, protocol=chosen, device=device)
    axes = {"network": network, "dataset": setting.dataset, "evaluation": chosen}
    cell = Evaluation(
        experiment=EXPERIMENT,
        axes={**axes, "checkpoint": checkpoint.name},
        subject=spec,
        size=data.size,
        checkpoint=checkpoint,
        evaluation=chosen,
    )
    accuracy = Accuracy(
        dataset=setting.dataset,
        split="val",
        classes=judged.classes,
        confusion=matrix.rows(),
        iterations=0,
        train_images=0,
        protocol=chosen,
        backbone=spec.backbone,
        groups=groups(setting.dataset),
    )
    where = environment_of(device, cell)
    written = make_record(cell, "measured", where, measures=Measures(accuracy=accuracy))
    append_line(out / RECORDS_FILE, written)
    return written

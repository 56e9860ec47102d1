"""The spec of a network: what is refused, and that it is plain data."""

import json
from dataclasses import asdict, replace

import pytest

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import NetworkSpec, Size


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "mmseg/ann-r50",
            {"head": "fpn"},
            "unknown head 'fpn'; did you mean 'fcn'. allowed are ann, fcn",
        ),
        ("mmseg/ann-r50", {"num_classes": 0}, "num_classes=0"),
        ("mmseg/ann-r50", {"dropout": 1.0}, r"dropout=1.0 is not a share"),
        ("mmseg/ann-r50", {"auxiliary_dropout": -0.1}, r"auxiliary_dropout=-0.1"),
        ("mmseg/ann-r50", {"channels": 0}, "channels=0"),
        ("mmseg/ann-r50", {"backbone": ""}, "backbone='' is not a name"),
        ("mmseg/ann-r50", {"fusion": BLOCKS["nb"]}, "needs a block with low_channels"),
        ("mmseg/ann-r50", {"context": BLOCKS["fnb"]}, "a block without low_channels"),
        ("mmseg/nl-r50", {"context": None}, "pass e.g. context="),
        ("mmseg/nl-r50", {"fusion": BLOCKS["afnb"]}, "fusion is for head 'ann'"),
        ("mmseg/psp-r50", {"context": BLOCKS["nb"]}, "context is for heads 'ann' and 'fcn'"),
        ("mmseg/psp-r50", {"mask": Size(height=9, width=9)}, "others have none"),
        ("mmseg/psa-r50", {"mask": None}, "head 'psa' needs one"),
        ("mmseg/psa-r50", {"projection_padding": -1}, "projection_padding=-1"),
        ("denseaspp/161", {"hidden_channels": None}, "needs them, e.g. 512"),
        ("mmseg/psp-r50", {"preprocessing": "rgb"}, "allowed are imagenet-rgb, caffe-bgr"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(NETWORKS[name], **changes)


def test_specs_are_plain_data():
    spec = NETWORKS["semseg/psanet-r101"]
    plain = json.loads(json.dumps(asdict(spec)))
    assert plain["mask"] == {"height": 129, "width": 257}
    assert replace(NetworkSpec(**plain | {"mask": Size(**plain["mask"])})) == spec

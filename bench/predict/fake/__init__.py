"""Fake tensors of a device: what torch would do with them, without values and without memory."""

from bench.predict.fake.autocast import Arguments, Keywords, Mode, Overload, carry_out
from bench.predict.fake.calls import describe, operator_name, tensors
from bench.predict.fake.flex import masked_pairs
from bench.predict.fake.tensor import Device, FakeTensor, as_fake, off, on, replace_tensors

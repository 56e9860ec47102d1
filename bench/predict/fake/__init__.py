"""Fake tensors of a device: what torch would do with them, without values and without memory."""

from bench.predict.fake.autocast import ASK_DEVICE, Mode
from bench.predict.fake.tensor import Device, FakeTensor, as_fake, off, on, replace_tensors

"""Blocks and networks as ONNX files, for maps of one size or with free height and width."""

from ann.export.capture import inference
from ann.export.files import Exported, to_onnx
from ann.export.pooling import average_pool, max_pool
from ann.export.verify import TOLERANCE, difference, open_session, run_session

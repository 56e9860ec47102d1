#!/usr/bin/env bash
# mmsegmentation 1.2.2, segmentation-models-pytorch 0.6.0, torch 2.15.0 (Python 3.11, Linux): mIoU of an image depends on threads.
#
# Both count the pixels of each class by torch.histc on float32, which counts one by one in float32: at 2^24 = 16,777,216 it
# stops (open-mmlab/mmsegmentation#523). On a processor each thread counts its part of the image and the parts are added, so that
# a class stops at 2^24 with one thread and at twice that with two. The same masks, as satellites and microscopes give them, have
# another IoU on a machine with other cores, under another OMP_NUM_THREADS, or in a loader's worker, which has one thread; and
# nothing warns. Sums over many images are exact or nearly so in both; it is single large ones that are hit.
#
# Seen, 5000x4000 pixels, 19,950,000 of class 0, of which 5,000,000 are predicted as class 1; IoU of class 0 by hand 0.7494:
#   1 thread: mmsegmentation 0.8911, segmentation-models-pytorch 0.8911
#   2 threads: mmsegmentation 0.7494, segmentation-models-pytorch 0.7494
#
# Needs 6 GB for torch and its CUDA libraries; no GPU. Ends with 0 as long as this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet uv==0.9.7
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" torch==2.15.0 torchvision==0.29.2 numpy==2.3.4 \
    mmsegmentation==1.2.2 mmengine==0.10.7 mmcv-lite==2.1.0 ftfy==6.3.1 regex==2025.11.3 segmentation-models-pytorch==0.6.0
cat >"$folder/count.py" <<'PYTHON'
import sys

import segmentation_models_pytorch as smp
import torch
from mmseg.evaluation.metrics import IoUMetric

threads = int(sys.argv[1])
torch.set_num_threads(threads)
label = torch.zeros(4000, 5000, dtype=torch.int64)
label[:10] = 1
prediction = label.clone()
prediction[100:1100] = 1

intersection, union, *_ = IoUMetric.intersect_and_union(prediction, label, 2, 255)
statistics = smp.metrics.get_stats(prediction[None], label[None], mode="multiclass", num_classes=2)
theirs = (float(intersection[0] / union[0]), float(smp.metrics.iou_score(*statistics)[0, 0]))
name = f"{threads} thread{'s' * (threads > 1)}"
print(f"{name}: mmsegmentation {theirs[0]:.4f}, segmentation-models-pytorch {theirs[1]:.4f}")
PYTHON
for threads in 1 2; do
  "$folder/venv/bin/python" -W ignore "$folder/count.py" "$threads" 2>/dev/null
done | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
1 thread: mmsegmentation 0.8911, segmentation-models-pytorch 0.8911
2 threads: mmsegmentation 0.7494, segmentation-models-pytorch 0.7494
SEEN

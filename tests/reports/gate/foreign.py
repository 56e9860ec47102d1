"""Files of other tools in exactly the form in which they write them, small and made up."""

import array
import json


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def pytest_benchmark(times, *, taken_at="2026-01-02T03:04:05", data=True, node="here", project="p"):
    """`pytest --benchmark-json`, with `--benchmark-save-data` where there is `data`."""
    benchmarks = [
        {
            "group": None,
            "name": name,
            "fullname": f"tests/test_speed.py::{name}",
            "params": None,
            "param": None,
            "extra_info": {},
            "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 5},
            "stats": {
                "min": min(samples),
                "max": max(samples),
                "mean": sum(samples) / len(samples),
                "stddev": 0.0002,
                "rounds": len(samples),
                "median": sorted(samples)[len(samples) // 2],
                "iterations": 1,
                **({"data": samples} if data else {}),
            },
        }
        for name, samples in times.items()
    ]
    return {
        "machine_info": {"node": node, "processor": "x86_64", "cpu": {"brand_raw": "A CPU"}},
        "commit_info": {"id": "abc", "project": project},
        "benchmarks": benchmarks,
        "datetime": taken_at,
        "version": "5.3.1",
    }


def _summary(tag, kind, value, name="value"):
    return {"tag": tag, "name": tag, "data": [{"name": name, "type": kind, "value": value}]}


def nvbench(means, *, samples=None, noise=0.01, device="NVIDIA H200", skipped=()):
    """nvbench's `--json`; with `samples`, names of files and their sizes, `--jsonbin`."""
    states = []
    for name, mean in means.items():
        summaries = [
            _summary("nv/cold/sample_size", "int64", "100"),
            _summary("nv/cold/time/cpu/mean", "float64", str(2 * mean)),
            _summary("nv/cold/time/gpu/mean", "float64", str(mean)),
            *(
                [_summary("nv/cold/time/gpu/stdev/relative", "float64", str(noise))]
                if noise
                else []
            ),
            _summary("nv/batch/time/gpu/mean", "float64", str(mean / 2)),
        ]
        if samples:
            file, size = samples
            data = [
                {"name": "filename", "type": "string", "value": file},
                {"name": "size", "type": "int64", "value": str(size)},
            ]
            summaries.append({"tag": "nv/json/bin:nv/cold/sample_times", "data": data})
        states.append(
            {"name": f"Device=0 {name}", "device": 0, "axis_values": None, "is_skipped": False}
            | {"summaries": summaries}
        )
    states += [
        {"name": f"Device=0 {name}", "device": 0, "is_skipped": True, "skip_reason": "too large"}
        | {"summaries": None}
        for name in skipped
    ]
    return {
        "meta": {"version": {"json": {"string": "1.0.0"}}},
        "devices": [{"id": 0, "name": device, "sm_version": 900}],
        "benchmarks": [
            {"name": "copy", "index": 0, "devices": [0], "axes": None, "states": states}
        ],
    }


def write_floats(path, values):
    path.write_bytes(array.array("f", values).tobytes())


def kernelbench(means, *, hardware="NVIDIA H100 80GB HBM3"):
    """KernelBench's results/timing/*/baseline_time_torch.json."""
    about = {"std": 0.01, "min": 0.9, "max": 1.2, "num_trials": 100, "hardware": hardware}
    rows = {name: {"mean": mean, **about, "device": "cuda:0"} for name, mean in means.items()}
    return {"level1": rows, "level2": {}}


def kernelbench_samples(runtimes, *, correct=True):
    """KernelBench's eval_results.json: samples of a problem."""
    return {
        "7": [
            {
                "sample_id": at,
                "compiled": True,
                "correctness": correct,
                "metadata": {"hardware": "NVIDIA H100 80GB HBM3", "device": "cuda:0"},
                "runtime": mean,
                "runtime_stats": {"mean": mean, "std": 0.01, "min": 1, "max": 2, "num_trials": 100},
            }
            for at, mean in enumerate(runtimes)
        ]
    }


KERNELBENCH_CSV = """\
level,problem,mean,std,min,max,num_trials,hardware,device
1,19_ReLU.py,4.27,0.00845,4.26,4.35,100,NVIDIA H100,cuda:0
"""
TRITONBENCH_CSV = """\
x_val;naive-latency;naive-tflops;fast-one-latency;fast-one-tflops
(256, 256);0.5;10.0;0.25;20.0
(512, 512);2.0;11.0;CUDA out of memory;
average;1.25;10.5;;20.0
"""


def tritonbench(times):
    """tritonbench's `userbenchmark_dict`."""
    metrics = {}
    for name, time in times.items():
        metrics[f"tritonbench_softmax_fwd[x_256-{name}]_latency"] = time
        metrics[f"tritonbench_softmax_fwd[x_256-{name}]_speedup"] = 2.0
        metrics[f"tritonbench_softmax_fwd[x_average-{name}]_latency"] = time
        metrics[f"tritonbench_softmax_fwd[{name}]-latency-avg"] = time
    return metrics

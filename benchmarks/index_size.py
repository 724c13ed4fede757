"""Index of a data set of the size of COCO train2017: seconds to open, memory of loader workers.

    OMP_NUM_THREADS=1 python benchmarks/index_size.py

Generated data: 118,287 images (empty files) and 860,001 boxes in 80 categories, once as boxes only and once with
outlines, which make the file as long as that of COCO. It is opened three times, the first time without a cache.
Then sixteen loader workers read boxes of all images. Their memory is PSS: a page that several processes share
counts in equal parts for each.

Measured on 2 shared x86-64 cores, Python 3.11, numpy 2.4, one thread:

| JSON | first opening | later ones |
|---|---|---|
| boxes only, 120 MB | 4.0 to 5.4 s | 0.03 s |
| with outlines, 536 MB | 7.2 to 8.0 s | 0.03 s |

The index is 51 MB. Sixteen workers hold 83 MB more than without it when forked, 33 MB when spawned;
a copy in each would be 813 MB.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from fsdet.data import DetectionData, open_data

IMAGES, BOXES, CATEGORIES = 118_287, 860_001, 80
SECONDS = """
import sys, time
from fsdet.data import open_data
start = time.perf_counter()
data = open_data(sys.argv[1], "train2017")
print(time.perf_counter() - start, len(data), len(data.boxes))
"""


class Boxes(Dataset):
    """Boxes of image i: reads the index, decodes no image."""

    def __init__(self, data: DetectionData):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> tuple[int, str, float]:
        return os.getpid(), self.data.path(i).name, float(self.data.boxes[self.data.rows(i)].sum())


def generate(root: Path, outlines: bool) -> Path:
    """Write annotations and empty image files; the path of the JSON."""
    rng = np.random.default_rng(0)
    folder = root / "images" / "train2017"
    folder.mkdir(parents=True)
    (root / "annotations").mkdir()
    names = [f"{n:012}.jpg" for n in range(IMAGES)]
    for name in names:
        (folder / name).touch()
    image = rng.integers(0, IMAGES, BOXES).tolist()
    corner = (rng.random((BOXES, 2)) * (400, 300)).round(2).tolist()
    side = (1 + rng.random((BOXES, 2)) * (200, 150)).round(2).tolist()
    points = rng.integers(100, 60_000, (BOXES, 60)) / 100
    file = root / "annotations" / "instances_train2017.json"
    with file.open("w", encoding="utf-8") as out:
        out.write('{"images": ')
        json.dump([image_entry(n, name) for n, name in enumerate(names)], out)
        categories = [{"id": n, "name": f"category {n}"} for n in range(1, CATEGORIES + 1)]
        out.write(f', "categories": {json.dumps(categories)}, "annotations": [')
        for n in range(BOXES):
            entry = {"id": n + 1, "image_id": image[n], "category_id": n % CATEGORIES + 1}
            entry |= {"bbox": corner[n] + side[n], "area": side[n][0] * side[n][1], "iscrowd": 0}
            if outlines:
                entry["segmentation"] = [points[n].tolist()]
            out.write(", " * (n > 0) + json.dumps(entry))
        out.write("]}")
    return file


def image_entry(n: int, name: str) -> dict:
    return {"id": n, "file_name": name, "height": 480, "width": 640}


def pss(pid: int) -> float:
    """PSS of a process in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def workers_memory(data: Dataset, workers: int, method: str) -> tuple[float, float]:
    """PSS in MB of all workers together after an epoch, and the mean number of items per worker."""
    loader = DataLoader(
        data,
        batch_size=256,
        num_workers=workers,
        collate_fn=list,
        persistent_workers=True,
        multiprocessing_context=method,
    )
    items = [item for batch in loader for item in batch]
    assert len(items) == len(data)
    pids = {pid for pid, _, _ in items}
    return sum(map(pss, pids)), len(items) / len(pids)


class Nothing(Dataset):
    """Items without an index, for the memory of the workers themselves."""

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, i: int) -> tuple[int, str, float]:
        return os.getpid(), "", 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=16)
    workers = parser.parse_args().workers
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for outlines in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            os.environ["FSDET_CACHE"] = str(root / "cache")
            size = generate(root, outlines).stat().st_size / 1e6
            times = []
            for _ in range(3):
                command = [sys.executable, "-c", SECONDS, str(root)]
                run = subprocess.run(command, capture_output=True, text=True, check=True)
                times.append(float(run.stdout.split()[0]))
            kind = "with outlines" if outlines else "boxes only"
            listed = ", ".join(f"{seconds:.2f}" for seconds in times)
            print(f"{kind}, JSON of {size:.0f} MB: opened in {listed} s")
            if outlines:
                continue
            start = time.perf_counter()
            data = open_data(root, "train2017")
            stored = sum(file.stat().st_size for file in data.cache_folder.iterdir()) / 2**20
            print(f"opened again in {time.perf_counter() - start:.2f} s, {stored:.0f} MB on disk")
            for method in ("fork", "spawn"):
                bare, _ = workers_memory(Nothing(), workers, method)
                full, each = workers_memory(Boxes(data), workers, method)
                print(
                    f"{workers} workers by {method}, {each:.0f} images each: {full:.0f} MB in all, "
                    f"{bare:.0f} MB without an index: {full - bare:.0f} MB for it, "
                    f"{workers * stored:.0f} MB if each held a copy"
                )


if __name__ == "__main__":
    main()

"""Surveys on a Dask cluster of processes."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from specz_cnn.cli import main
from specz_cnn.survey import fit_survey

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of one thread each; lost ones are replaced."""
    import dask

    with (
        dask.config.set({"distributed.worker.daemon": True, "logging.distributed": "critical"}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            silence_logs=50,
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster):
    """A client of the cluster."""
    with distributed.Client(cluster) as client:
        yield client


def test_same_bytes_with_a_worker_killed_in_the_middle(
    tmp_path, inputs, options, undisturbed, same_output, client
):
    killed = []

    def kill():
        while not list(tmp_path.glob("part-*")):
            time.sleep(0.005)
        killed.append(next(iter(pids.values())))
        os.kill(killed[0], signal.SIGKILL)

    pids = client.run(os.getpid)
    thread = threading.Thread(target=kill)
    thread.start()
    summary = fit_survey(inputs, tmp_path, client=client, **options)
    thread.join()
    assert summary.n_rows == len(inputs)
    assert killed
    same_output(tmp_path, undisturbed)


def test_command_line_with_a_scheduler(tmp_path, tree, networks, cluster, capsys):
    arguments = ["--model", networks["model"], "--no-cross-check", "--scheduler", cluster.scheduler_address]
    assert main(["fit", str(tree), "-o", f"{tmp_path}/out/", "--part-rows", "10", *arguments]) == 3
    # Of the files one is damaged.
    assert "23 rows" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 3


def test_workers_with_other_weights_refuse(tmp_path, files, networks, client, monkeypatch):
    from specz_cnn.survey import run

    plan = run._plan

    def other(*args):
        job, settings = plan(*args)
        return run.Job(**{**vars(job), "sha256": ("0" * 64, "")}), settings

    monkeypatch.setattr(run, "_plan", other)
    with pytest.raises(RuntimeError, match="other weights"):
        fit_survey(files, tmp_path, client=client, **{**networks, "cross_check": None})

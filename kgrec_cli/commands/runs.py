"""`kgrec runs`: what lies under `saved/`."""

from pathlib import Path

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def runs(json_output: opt.Json = False) -> None:
    """List the runs: finished, or stopped (`kgrec train --resume` resumes them)."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.runs import run_dir

    saved_dir = resolve_settings(folder=Path()).checkpoint_dir
    states = {
        run.name: "finished" if run_dir.is_finished(run) else "stopped"
        for run in run_dir.list_runs(Path(saved_dir))
    }
    if json_output:
        console.emit_json([{"run": name, "state": state} for name, state in states.items()])
        return
    if not states:
        console.say(f"no run under {saved_dir}/: `kgrec train` makes one")
        return
    console.table(None, ["run", "state"], [[name, state] for name, state in states.items()])

"""`python -m study.run NAME`: run a study, or the cells that are missing of it."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

from study.arguments import parser
from study.errors import BadInputError
from study.listing import about, listing, study_names

if TYPE_CHECKING:
    from study.console import Display
    from study.planning.cells import Cell
    from study.planning.plan import Plan
    from study.planning.resources import Resources
    from study.planning.sources import Declared
    from study.records.records import Records

COMPLETE, SOME_FAILED, INTERRUPTED = 0, 3, 130  # exit codes


def main(arguments: list[str] | None = None) -> int:
    p = parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    args = p.parse_args(arguments)
    if args.help or args.list:
        try:
            if args.help:
                p.print_help()
            described = listing(args.list) if args.list else about(args.name) if args.name else ()
            for line in described:
                print(line)
        except (ValueError, BadInputError) as error:
            p.error(str(error))
        except BrokenPipeError:  # whoever reads, such as head, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COMPLETE
    names = study_names()
    if args.name is None:
        p.error(f"name a study: {', '.join(names)}")
    if args.name not in names and not set(args.name) & {".", ":"}:
        where = "FILE.py or package.module:STUDY"
        p.error(f"unknown study {args.name!r}: choose one of {', '.join(names)}, or give {where}")

    from trainables.data.base import one_line

    for argument in arguments:  # the records and MLflow keep the command
        if one_line(argument) != argument:
            p.error(f"{argument!r}: no line breaks, control characters or broken letters, please")
    command = "python -m study.run " + shlex.join(arguments)
    try:
        return perform(args, command)
    except BadInputError as error:
        p.error(str(error))
    except OSError as error:  # mostly a full disk; the records stay, and the study can go on
        print(f"{p.prog}: {error}; give the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:  # outside `run_cells`, which handles signals itself
        print(f"{p.prog}: interrupted; give the same command again to go on", file=sys.stderr)
        return INTERRUPTED


def perform(args: argparse.Namespace, command: str, declared: Declared | None = None) -> int:
    """Do what the parsed arguments ask for. Returns the exit code.

    Args:
        command: for the records.
        declared: the study; None: the one that the arguments name.

    Raises:
        BadInputError: it cannot be done, and nothing was started.
    """
    from study.planning import machine, pilot, places, prepare, resources, sources, study_json
    from study.planning.plan import Plan
    from study.records.folders import study_folder
    from study.records.records import Records

    address = args.address or os.environ.get("RAY_ADDRESS")  # a submitted job has RAY_ADDRESS
    machine.prepare(own_ray=not (address or args.dry_run or args.verify))
    declared = declared or sources.declared(args.name)
    study, name = declared.study, declared.name
    prepare.check_study(study)
    places.check(args.storage, args.tracking_uri, args.fid_weights)
    records = Records(study_folder(args.storage, name, args.fresh))
    places.check_folder(records.folder)
    known = study_json.recorded(records)
    chosen = prepare.choose_data(args.data, study, known, args.data_dir, args.image_size)
    spec = chosen.spec
    settings = prepare.parse_settings(args.settings)
    nodes = resources.here()
    if address:
        # This must be set before Ray is imported. Otherwise Ray uses no token for HOST:PORT.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        from study.engine import cluster

        cluster.join(address, "--address" if args.address else "RAY_ADDRESS")
        nodes = cluster.check(args.storage, declared.sources)
    scale = args.scale or ("full" if any(node.gpus for node in nodes) else "quick")
    seeds = args.seeds
    if seeds is None and known and known["looks"]:  # a study goes on with the seeds it began with
        seeds = known["looks"][0]
    budget = prepare.resolve_budget(study, scale, args.trials, seeds, settings)
    plan = prepare.check(
        Plan(
            name=name,
            study=study,
            budget=budget,
            overrides=settings,
            data=chosen.name,
            data_path=chosen.path,
            image_size=chosen.image_size,
            classes=spec.classes,
            channels=spec.channels,
            size=spec.size,
            labels=spec.labels,
            paired=spec.paired,
            only=args.only,
            first_seed=args.first_seed,
            pilot=pilot.of_folder(args.pilot, known, records.folder),
            sources=(*declared.sources, *chosen.sources),
        )
    )
    if args.verify is not None:
        prepare.check_cell(records, args.verify)
    if known:
        study_json.adopt_changed_code(records, known, plan.definition())
        study_json.refuse_changes(known, plan.definition(), records.folder)
        study_json.check_looks(known, plan.budget.seeds, records.folder)
    pilot.check(plan, known)
    share = resources.fit(nodes, args.cpus_per_trial, args.gpus_per_trial, args.max_concurrent)
    from study.console import Display

    display = Display(plan, records)
    display.say(chosen.line)
    for name, why in plan.left_out.items():
        display.say(f"left out: {name}, for {why}")
    if args.dry_run:
        from study.dry_run import dry_run

        dry_run(plan, records, known, share, display.say, args.decide, scale == "smoke")
        return COMPLETE
    if args.verify is not None:
        from study.verify_cell import verify_cell

        return verify_cell(args, plan, records, share, display)
    return execute(args, plan, records, share, display, chosen.line, scale, command)


def look_again(records: Records, display: Display, plan: Plan) -> Plan | None:
    """What --decide does when every cell has ended: more seeds for primary claims left open."""
    from study.report.next_look import next_look

    if grown := next_look(plan, records):
        display.plan = grown
        new = grown.more_seeds.items() - plan.more_seeds.items()
        groups = sorted(f"{name} ({config}): {n} seeds" for (name, config), n in new)
        display.say(f"primary claims are undecided, so these go on: {', '.join(groups)}")
    return grown


def execute(
    args: argparse.Namespace,
    plan: Plan,
    records: Records,
    resources: Resources,
    display: Display,
    data_line: str,
    scale: str,
    command: str,
) -> int:
    """Run the cells that are missing, then write the report and print the summary."""
    from study.planning import fid_weights, places, prepare, study_json
    from study.planning.mlflow_store import default_uri
    from study.planning.remaining import Remaining
    from study.planning.resources import device_of
    from study.records.records import FAILED
    from study.report.write import write_report
    from study.tracking.mlflow_mirror import Mirror

    uri = args.tracking_uri or default_uri(args.storage)
    began = (records.folder / "study.json").exists()
    with contextlib.ExitStack() as stack:
        if began:
            records.lock = stack.enter_context(prepare.lock(records.folder))
            for damage in records.quarantine_damaged():
                display.say(damage)
        mirror = None
        failed = Remaining(plan, records).failed() if began else []
        if failed:
            does = "runs them" if args.retry_failed else "would run them"
            display.say(f"cells that failed: {len(failed)}; --retry-failed {does} again")
        retried = failed if args.retry_failed else []
        grow = functools.partial(look_again, records, display) if args.decide else None
        finished = began and not retried and Remaining(plan, records).is_finished
        while finished and grow and (grown := grow(plan)):
            plan = grown
            finished = Remaining(plan, records).is_finished
        if finished:
            display.say(f"{records.folder}: every cell has ended, nothing to run")
        else:
            from study.engine.shared_state import make_shared

            cache = places.cache(args.storage)
            dataset = prepare.load_data(plan.data, args.data_dir, cache)
            prepare.check_images(plan, dataset)
            images = f"{len(dataset.train.y)} images to train on, {len(dataset.test.y)} held out"
            shape = "x".join(map(str, (dataset.channels, *dataset.size)))
            display.say(f"{images}, {shape}, of {len(dataset.classes)} classes")
            if began and (line := study_json.other_code(records, plan.sources)):
                display.say(line)
            if not began:
                records.lock = stack.enter_context(prepare.lock(records.folder))
            weights, about_fid = fid_weights.choose(plan, args.fid_weights, device_of(resources))
            if about_fid:
                display.say(f"fid: {about_fid}")
            bf16 = study_json.write_study(
                records, plan, dataset, resources, data_line, scale, command, about_fid
            )
            smoke = scale == "smoke"
            shared = make_shared(plan, records, dataset, cache, weights, bf16, display.say, smoke)
            from study.early_verdicts import EarlyVerdicts
            from study.engine.engine import run_cells

            for cell_id in retried:  # whatever may be refused has been checked
                records.retry(cell_id)
            mirror = following = Mirror(uri, args.storage, records)
            early = EarlyVerdicts(plan, records, display)

            def observe(cell: Cell, result: dict[str, Any] | None) -> None:
                display(cell, result)
                following.touch(cell.id)
                if not smoke:  # where verdicts say nothing
                    early(cell, result)

            with display.progress:
                finished = run_cells(plan, records, shared, resources, observe, display.say, grow)
        if finished:
            study_json.mark_finished(records)
        mirror = mirror or Mirror(uri, args.storage, records)
        report = write_report(records)
        claims = report.claims
        seconds = 60 if finished else 5
        verdicts = dict(zip(claims["id"], claims["verdict"], strict=True))
        mirror.close(report.page, verdicts, finished, seconds)
    if mirror.problem:
        when = "" if mirror.is_slow else "once that is mended, "
        display.say(
            f"mlflow: {uri} is behind ({mirror.problem}); {when}the same command brings it up to "
            f"date, and python -m study.report {plan.name} --mirror takes the time that it needs"
        )
    display.summary(report.cells, claims, finished)
    if scale == "smoke":
        display.say("scale smoke tries the plumbing: these verdicts say nothing of the claims")
    display.say(f"report: {report.page}")
    ui = f"python -m study.ui {plan.name} --storage {args.storage}"
    display.say(f"mlflow: {args.tracking_uri or ui}")
    if not finished:
        display.say("interrupted; give the same command again to go on")
        return INTERRUPTED
    return SOME_FAILED if report.cells["outcome"].isin(FAILED).any() else COMPLETE


if __name__ == "__main__":
    # Set both handlers explicitly: a shell starts its background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())

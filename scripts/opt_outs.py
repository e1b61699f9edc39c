#!/usr/bin/env python3
"""Measure how many people who ask not to be called again are heard, and how many are who did not ask.

    scripts/opt_outs.py [--missed] [--json] [--sets DIRECTORY] [LANGUAGE ...]

The sentences are in tests/relay/dialling/opt_outs, a file a language. `develop` was at hand when the rules were
written; `held_out` was not, and `later` is what they were tried with afterwards: each file says how they did then.
*Asks* are wishes and how many of them are heard; *guards* sound like a wish and are none, and *false* is how many of
those are heard all the same.

Run it with the project's environment: .venv/bin/python scripts/opt_outs.py
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import click

from relay.dialling.opt_out import LANGUAGES, spoken_opt_out

SETS = Path(__file__).parents[1] / "tests" / "relay" / "dialling" / "opt_outs"
PARTS = ("develop", "held_out", "later")


@attrs.frozen
class SentenceSet:
    """One part of a language's sentences: wishes, and what only sounds like one."""

    language: str
    part: str
    asks: tuple[str, ...]
    guards: tuple[str, ...]


@attrs.frozen
class Result:
    """What is heard of one set."""

    language: str
    part: str
    asks: int
    guards: int
    missed: tuple[str, ...]
    false: tuple[str, ...]

    @property
    def heard(self) -> float:
        """The share of the wishes that is heard, in percent."""
        return 100 * (1 - len(self.missed) / self.asks) if self.asks else 100.0


def read_sets(directory: Path, languages: Iterable[str] = ()) -> list[SentenceSet]:
    """Return the sets of some languages, or of all that are listened to.

    Raises `OSError` for a file that cannot be read, and `ValueError` for one that is not such a set.
    """
    return [each for language in languages or LANGUAGES for each in _read(directory / f"{language}.toml")]


def _read(path: Path) -> Iterator[SentenceSet]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        for part in PARTS:
            asks, guards = (tuple(data[kind][part].split("\n")) for kind in ("asks", "does_not_ask"))
            yield SentenceSet(path.stem, part, tuple(filter(None, asks)), tuple(filter(None, guards)))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} needs asks and does_not_ask, each with develop, held_out and later: {error}"
        ) from error


def measure(sentences: SentenceSet) -> Result:
    """Listen to every sentence of a set on a call in its language."""
    return Result(
        sentences.language,
        sentences.part,
        len(sentences.asks),
        len(sentences.guards),
        tuple(each for each in sentences.asks if not spoken_opt_out(each, sentences.language)),
        tuple(each for each in sentences.guards if spoken_opt_out(each, sentences.language)),
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("languages", nargs=-1, type=click.Choice([*LANGUAGES]))
@click.option("--missed", is_flag=True, help="Print the sentences that are missed or falsely heard, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--sets",
    type=click.Path(path_type=Path, file_okay=False),
    default=SETS,
    help="The folder with the sentences. [default: tests/relay/dialling/opt_outs]",
)
def main(languages: tuple[str, ...], missed: bool, as_json: bool, sets: Path) -> None:
    """Measure how many wishes not to be called again are heard, by language."""
    try:
        results = [measure(each) for each in read_sets(sets, languages)]
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([{**attrs.asdict(each), "heard": round(each.heard, 1)} for each in results], indent=2))
        return
    click.echo("language  part      asks  heard  missed  percent  guards  false")
    for each in [*results, *(_total(results, part) for part in PARTS)]:
        heard = each.asks - len(each.missed)
        click.echo(
            f"{each.language:8}  {each.part:8}  {each.asks:4}  {heard:5}  {len(each.missed):6}"
            f"  {each.heard:7.1f}  {each.guards:6}  {len(each.false):5}"
        )
    if missed:
        for each in results:
            for kind, sentences in (("missed", each.missed), ("false", each.false)):
                for sentence in sentences:
                    click.echo(f"{each.language} {each.part} {kind}: {sentence}")


def _total(results: Iterable[Result], part: str) -> Result:
    chosen = [each for each in results if each.part == part]
    return Result(
        "all",
        part,
        sum(each.asks for each in chosen),
        sum(each.guards for each in chosen),
        tuple(sentence for each in chosen for sentence in each.missed),
        tuple(sentence for each in chosen for sentence in each.false),
    )


if __name__ == "__main__":
    main()

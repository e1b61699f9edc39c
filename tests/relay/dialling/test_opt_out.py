"""Hearing "stop calling me": what asks for it, and what only sounds like it.

The large sets of sentences are in `opt_outs/`, a file a language; `scripts/opt_outs.py` prints what is heard of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.dialling.opt_out import LANGUAGES, MAX_CHARACTERS, rules_of, spoken_opt_out
from relay.dialling.opt_out_rules import compile_rules
from scripts.opt_outs import SETS, SentenceSet, main, measure, read_sets

ASKS = {
    "en": [
        "please stop calling",
        "remove me from the list",
        "do not call this number",
        "I want to be removed from your list",
        "lose my number",
        "I don't want to be contacted",
        "opt me out",
        "I want you to take my number off",
        "stop fucking calling me",
        "I revoke my consent",
        "drop me from your list",
        "please no longer call this number",
        "Stop calling me.",
        "stop calling me",
        "Please stop calling me!",
        "Can you stop calling me?",
        "Stop calling me, I already told you.",
        "stop calling me i already told you",
        "I asked you to stop calling me",
        "I said stop calling this number.",
        "Do not call me again.",
        "Don't call me again, please.",
        "Don’t ever call me again",
        "Never call me again!",
        "do not call this number again",
        "Please do not call here any more.",
        "don't call me on this number anymore",
        "Take me off your list.",
        "Please take my number off your calling list",
        "Remove me from your database",
        "remove my phone number from your list please",
        "Put me on your do-not-call list",
        "I don't want you to call me anymore",
        "I don't want any more calls",
        "I want to opt out of these calls",
        "Quit calling me",
        "Hello. I'm busy. Stop calling me, please.",
        "if you don't stop calling me i'll complain",
        "Don't ever call me.",
        "Tell them not to call me again",
        "Please, take us off of the telemarketing list",
    ],
    "de": [
        "keine Anrufe mehr",
        "löschen Sie meine Nummer",
        "Rufen Sie mich nicht mehr an.",
        "Rufen Sie mich bitte nicht mehr an!",
        "Ruf mich nie wieder an",
        "Rufen Sie hier nie wieder an",
        "Hören Sie auf, mich anzurufen!",
        "Hören Sie bitte endlich auf, mich ständig anzurufen",
        "Ich möchte nicht mehr angerufen werden",
        "Ich will keine Anrufe mehr von Ihnen",
        "Nehmen Sie mich bitte von Ihrer Liste",
        "Streichen Sie meine Nummer aus Ihrer Datenbank",
        "Rufen Sie diese Nummer nicht mehr an",
        "Ich möchte, dass Sie mich nicht mehr anrufen",
        "Stop calling me!",
    ],
    "fr": [
        "je ne veux plus de vos appels",
        "ne me rappelez pas",
        "Ne m'appelez plus.",
        "Ne m’appelez plus jamais !",
        "Arrêtez de m'appeler",
        "Arrêtez de m'appeler, s'il vous plaît",
        "Je ne veux plus être appelée",
        "Retirez-moi de votre liste",
        "Supprimez mon numéro de vos fichiers",
        "N'appelez plus ce numéro",
        "S'il te plaît, ne m'appelle plus",
        "Cessez de me téléphoner",
        "Je ne souhaite plus recevoir vos appels",
        "Merci de ne plus m'appeler",
    ],
    "es": [
        "ya no me llamen",
        "no quiero que me llamen",
        "borren mi número",
        "no llame más",
        "No me llame más.",
        "No me llamen nunca más",
        "No me vuelva a llamar",
        "¡No vuelvan a llamarme!",
        "Deje de llamarme",
        "Dejen ya de llamarme, por favor",
        "Quíteme de su lista",
        "Borre mi número de su base de datos",
        "No quiero recibir más llamadas",
        "No quiero que me llamen más",
        "No llame más a este número",
        "No me llames más",
    ],
    "it": [
        "non chiamate più",
        "cancellate il mio numero",
        "Non mi chiami più.",
        "Non mi chiamate mai più!",
        "Non chiamatemi più",
        "Smettila di chiamarmi",
        "La smetta di chiamarmi, per favore",
        "Mi tolga dalla vostra lista",
        "Cancellate il mio numero dal vostro elenco",
        "Non voglio più essere chiamata",
        "Non voglio più ricevere telefonate",
        "Non chiami più questo numero",
    ],
    "pt": [
        "me tira da lista",
        "não quero receber ligações",
        "Não me ligue mais.",
        "Não me liguem mais, por favor",
        "Pare de me ligar",
        "Pare de me ligar, por favor",
        "Parem de ligar para este número",
        "Não volte a ligar-me",
        "Não volte a me ligar",
        "Me tire da sua lista",
        "Retire o meu número da vossa lista",
        "Não quero receber mais ligações",
        "Não ligue mais para mim",
        "Nunca mais me ligue",
        "Deixe de me telefonar",
    ],
    "nl": [
        "ik wil niet gebeld worden",
        "Bel me niet meer.",
        "Bel mij alstublieft nooit meer",
        "Belt u mij niet meer",
        "Stop met bellen",
        "Stop met mij te bellen",
        "Hou op met me te bellen",
        "Haal me van uw lijst",
        "Verwijder mijn nummer uit jullie bestand",
        "Ik wil niet meer gebeld worden",
        "Ik wil geen telefoontjes meer van jullie",
        "U moet mij niet meer bellen",
    ],
}

DOES_NOT_ASK = {
    "en": [
        "don't call me tomorrow, call me Friday",
        "don't hesitate to call me again",
        "do not call me before nine",
        "I will call you again",
        "Don't stop calling me when you have news",
        "don't stop calling me",
        "Please never stop calling me",
        "Why did you stop calling me?",
        "You stopped calling me",
        "Stop calling me Bob",
        "Stop calling me at work",
        "Stop calling me names",
        "Call me again tomorrow",
        "Do not call me again before nine",
        "don't call me again until Monday",
        "don't call me again today",
        "If you don't call me again I'll be sad",
        "Why don't you call me again",
        "They don't call me any more",
        "I don't want you to stop calling me",
        "He asked me to stop",
        "Take me off speaker",
        "Take me off the waiting list",
        "remove the milk from your list",
        "Did you stop calling me because of that?",
        "Don't take me off your list",
        "Call me any time",
        "Is this the do not call list?",
        "You can call me again, don't worry",
        "Can you call me back after eight?",
        "I can't call anymore",
        "You don't have to stop calling me",
        "Do not call me this late again tonight",
        "don't call me this early in the morning",
        "stop",
        "unsubscribe",
        "I was told not to call",
        "I never said don't call me again",
    ],
    "de": [
        "Rufen Sie mich wieder an",
        "Rufen Sie mich nicht mehr vor neun an",
        "Warum rufen Sie mich nicht mehr an?",
        "Rufen Sie mich nicht mehr an?",
        "Hören Sie nicht auf, mich anzurufen",
        "Ich rufe Sie nicht mehr an",
        "Rufen Sie mich heute nicht an",
        "Ich kann nicht mehr",
        "Nehmen Sie mich mit",
        "Bitte rufen Sie mich morgen noch einmal an",
        "Warum rufen sie mich nie mehr an",
    ],
    "fr": [
        "Appelez-moi demain",
        "Je vous rappelle",
        "Pourquoi vous ne m'appelez plus ?",
        "Il ne m'appelle plus",
        "Marie ne m'appelle plus",
        "Ne m'appelez plus avant neuf heures",
        "N'arrêtez pas de m'appeler",
        "Vous ne m'appelez plus",
        "Ne m'appelez plus ce soir",
        "J'en veux plus",
    ],
    "es": [
        "no me llame antes de las nueve",
        "no deje de llamarme",
        "Llámeme más tarde",
        "No me llame más tarde",
        "No me llame hoy",
        "¿Por qué no me llama más?",
        "No deje de llamarme",
        "No dejes de llamarme cuando llegues",
        "Vuelva a llamarme",
        "No me llame más de una vez al día",
        "Si no me vuelve a llamar, nada",
    ],
    "it": [
        "Mi chiami più tardi",
        "Non mi chiami più tardi",
        "Perché non mi chiami più?",
        "Non smetta di chiamarmi",
        "Non mi chiamate più di una volta",
        "La richiamo",
        "Se non mi chiami più mi offendo",
    ],
    "pt": [
        "Me ligue mais tarde",
        "Não me ligue mais tarde",
        "Não pare de me ligar",
        "Por que não me liga mais?",
        "Ligue de novo",
        "Não me ligue hoje",
        "Não me ligue mais de uma vez por dia",
        "Vou para de manhã",
        "ele ligou para de me dizer",
    ],
    "nl": [
        "Bel me morgen",
        "Waarom bel je me niet meer?",
        "Bel me niet meer voor negen uur",
        "Bel me niet meer vandaag",
        "Stop niet met bellen",
        "Ik kan niet meer bellen",
        "Ze willen me niet meer bellen",
        "Ik bel u terug",
    ],
}


def each_of(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(language, words) for language, all_words in table.items() for words in all_words]


@pytest.mark.parametrize(("language", "words"), each_of(ASKS))
def test_a_plain_opt_out_is_heard(language: str, words: str) -> None:
    """Whoever says plainly not to be called is heard: in the language of the call, and where none is known."""
    assert spoken_opt_out(words, language)
    assert spoken_opt_out(words, "multi")


@pytest.mark.parametrize(("language", "words"), each_of(DOES_NOT_ASK))
def test_what_only_sounds_like_it_is_not(language: str, words: str) -> None:
    """Whoever wants to be called, wants it later, or tells of somebody else is not put on the list."""
    assert not spoken_opt_out(words, language)
    assert not spoken_opt_out(words, "multi")


@pytest.mark.parametrize("language", ["de-AT", "DE_ch", "fr", "multi", "ja-JP", ""])
def test_english_is_heard_everywhere(language: str) -> None:
    """People fall back on English with a machine, whatever the call's language is."""
    assert spoken_opt_out("Stop calling me!", language)


def test_another_language_is_not_guessed_at() -> None:
    """On a call in a known language, words of a third one are not listened for."""
    assert not spoken_opt_out("Arrêtez de m'appeler", "de")


@pytest.mark.parametrize(
    "words", ["DON\N{RIGHT SINGLE QUOTATION MARK}T CALL ME AGAIN", "Don't  call\nme -- again", "dont call me again..."]
)
def test_writing_does_not_matter(words: str) -> None:
    """Case, apostrophes, spaces and punctuation are the transcriber's."""
    assert spoken_opt_out(words, "en-US")


def test_an_opt_out_is_heard_among_other_words() -> None:
    """One sentence of many is enough, and what another one says does not weaken it."""
    assert spoken_opt_out("No, I don't. Who is this? I told you people before: stop calling me. Goodbye.", "en")


def test_all_languages_are_distinguished_by_tests() -> None:
    """Each language that is listened to has wishes and remarks here."""
    assert ASKS.keys() == DOES_NOT_ASK.keys() == set(LANGUAGES)


def set_name(sentences: SentenceSet) -> str:
    return f"{sentences.language}-{sentences.part}"


@pytest.mark.parametrize("sentences", read_sets(SETS), ids=set_name)
def test_nearly_all_opt_outs_of_the_sets_are_heard(sentences: SentenceSet) -> None:
    """Of what people say on the telephone, 95 wishes of 100 are heard, and nothing that is none."""
    result = measure(sentences)
    assert result.false == ()
    assert result.heard >= 95, result.missed


@pytest.mark.parametrize("sentences", read_sets(SETS), ids=set_name)
def test_what_is_no_opt_out_is_none_where_the_language_is_unknown(sentences: SentenceSet) -> None:
    """Listening in all languages at once finds nothing that listening in the right one does not."""
    assert [each for each in sentences.guards if spoken_opt_out(each, "multi")] == []


def test_the_sets_are_large() -> None:
    """Each language has at least 300 wishes and 200 that are none, a third of which the rules were not made with."""
    for language in LANGUAGES:
        develop, held_out, _later = read_sets(SETS, [language])
        assert len({*develop.asks, *held_out.asks}) >= 300, language
        assert len({*develop.guards, *held_out.guards}) >= 200, language
        assert min(len(held_out.asks), len(held_out.guards)) >= 90, language


# Not when this file is imported: to listen to them all takes a second, which whoever runs other tests need not pay.
@cache
def heard_wishes() -> list[tuple[str, str]]:
    """Return every wish that is heard, with its language."""
    return [
        (each.language, words)
        for each in read_sets(SETS)
        for missed in [set(measure(each).missed)]
        for words in each.asks
        if words not in missed
    ]


@cache
def remarks() -> list[tuple[str, str]]:
    """Return every sentence that is no wish, with its language."""
    return [(each.language, words) for each in read_sets(SETS) for words in each.guards]


PUNCTUATION = st.sampled_from(["", " ", ".", "!", ",", "...", " - ", "!!", "\u2026", ", ", "\n"])
CASING: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([str, str.upper, str.capitalize, str.title])


@st.composite
def dressed(draw: st.DrawFn, sentences: Callable[[], list[tuple[str, str]]]) -> tuple[str, str]:
    """Draw a sentence of a set as somebody else would transcribe it: fillers around it, another case, other signs."""
    language, words = draw(st.sampled_from(sentences()))
    fillers = st.lists(st.sampled_from(sorted(rules_of(language).fillers)), max_size=2).map(" ".join)
    told = draw(CASING)(f"{draw(fillers)} {words} {draw(fillers)}").strip()
    return language, f"{draw(PUNCTUATION)}{told}{draw(PUNCTUATION)}"


@settings(deadline=None, max_examples=300)
@given(dressed(heard_wishes))
def test_an_opt_out_stays_one_however_it_is_dressed(heard: tuple[str, str]) -> None:
    """Politeness, curses, fillers, case and punctuation around a wish change nothing."""
    language, words = heard
    assert spoken_opt_out(words, language)


@settings(deadline=None, max_examples=300)
@given(dressed(remarks))
def test_a_remark_stays_one_however_it_is_dressed(unheard: tuple[str, str]) -> None:
    """Nor do they make a wish of what is none."""
    language, words = unheard
    assert not spoken_opt_out(words, language)


HESITATION = {"en": "um", "de": "äh", "fr": "euh", "es": "eh", "it": "ehm", "pt": "eh", "nl": "eh"}


@settings(deadline=None, max_examples=300)
@given(st.deferred(lambda: st.sampled_from(heard_wishes())), st.integers(0, 30))
def test_hesitation_within_an_opt_out_changes_nothing(heard: tuple[str, str], place: int) -> None:
    """ "Stop um calling me" is "stop calling me": a hesitation may stand between any two words."""
    language, wish = heard
    words = wish.split(" ")
    assert spoken_opt_out(" ".join([*words[:place], HESITATION[language], *words[place:]]), language)


def test_an_opt_out_is_heard_within_a_long_speech() -> None:
    """Speech recognition may write no full stops: a wish has other words before and after it."""
    before = "yeah hello look i am in the middle of something at work and i have no idea who you are so"
    after = "because this is the third time this week and i am getting really annoyed with all of this"
    for wish in ("please just take me off whatever list this is", "stop calling me", "do not call me again"):
        assert spoken_opt_out(f"{before} {wish} {after}", "en-US")


@pytest.mark.parametrize("words", ["do not ", "stop calling ", "if you do not ", "x" * 50, "no me llame a ", "? ", "'"])
def test_any_amount_of_text_is_looked_at_within_bounds(words: str) -> None:
    """Of a megabyte, the end is listened to and the rest is not."""
    flood = words * (1_000_000 // len(words))
    assert spoken_opt_out(flood, "multi") == spoken_opt_out(flood[-MAX_CHARACTERS:], "multi")
    assert spoken_opt_out(f"{flood}. Never call this number again!", "multi")
    assert not spoken_opt_out(f"Never call this number again! {'x' * 1_000_000}", "multi")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_cheap_look_loses_nothing(language: str) -> None:
    """In each wish that is heard, one of the words occurs without which the rules are not tried."""
    rules = rules_of(language)
    missed = {words for each in read_sets(SETS, [language]) for words in measure(each).missed}
    wishes = {words for each in read_sets(SETS, [language]) for words in each.asks} - missed
    assert [words for words in wishes if not rules.may_ask(rules.normalise(words))] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_look_at_a_whole_utterance_loses_nothing(language: str) -> None:
    """Whatever a sentence is read as, the look at the words of the utterance has seen all that can be read."""
    rules = rules_of(language)
    sentences = [words for each in read_sets(SETS, [language]) for words in (*each.asks, *each.guards)]
    assert [words for words in sentences if rules.asks(words) and not rules.may_be_in(words)] == []
    vocabulary = [word for words in sentences for word in words.split()]
    dice = random.Random(language)
    for _ in range(5000):
        words = " ".join(dice.choices(vocabulary, k=dice.randint(1, 12)))
        if rules.may_ask(rules.normalise(words)):
            assert rules.may_be_in(f"Well. {words} … Bye?")


RULES: dict[str, Any] = {
    "apostrophe": "",
    "fillers": "um | please",
    "spelled": {"do not": "don't"},
    "names": {"ME": "me|us"},
    "phrases": {
        "asks": "stop calling ME",
        "asks_alone": "don't call [ME]",
        "may_follow": "again",
        "goes_on": "i",
        "unless_next": "before",
        "unless_after": "they",
        "remarks": "don't stop calling",
    },
}


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        ("Um, DON'T please call us", True),
        ("don't call i said", True),
        ("don't call again", True),
        ("stop calling me Bob", True),
        ("don't call Bob", False),
        ("don't call me again before nine", False),
        ("they stop calling me", False),
        ("don't stop calling me", False),
        ("don't stop calling me before nine, stop calling me", True),
    ],
)
def test_rules_do_what_their_notation_promises(words: str, asks: bool) -> None:
    """Each list of a rules file has the effect that its explanation names."""
    assert compile_rules(RULES).asks(words) == asks


@pytest.mark.parametrize(
    ("phrase", "complaint"),
    [
        ("please stop", "filler"),
        ("(stop calling", "not closed"),
        ("stop calling)", "not opened"),
        ("stop HIM", "HIM"),
        ("[stop]", "needs to be said"),
    ],
)
def test_a_wrong_rule_is_named(phrase: str, complaint: str) -> None:
    """Whoever corrects a file gets the phrase that cannot work, and why."""
    with pytest.raises(ValueError, match=complaint):
        compile_rules({**RULES, "phrases": {**RULES["phrases"], "asks": phrase}})


SMALL_SET = """
[asks]
develop = "stop calling me\\nI am fine"
held_out = "stop calling me"
later = ""
[does_not_ask]
develop = "hello"
held_out = "never call me again"
later = ""
"""


def test_the_script_shows_what_is_missed(tmp_path: Path) -> None:
    """The table counts, `--missed` names the sentences, `--json` has both, and a broken file is an error."""
    (tmp_path / "en.toml").write_text(SMALL_SET)
    runner = CliRunner()
    shown = runner.invoke(main, ["en", "--sets", str(tmp_path), "--missed"]).stdout
    assert "en        develop      2      1       1     50.0       1      0" in shown
    assert "en develop missed: I am fine" in shown
    assert "en held_out false: never call me again" in shown
    first, second, _third = json.loads(runner.invoke(main, ["en", "--sets", str(tmp_path), "--json"]).stdout)
    assert (first["missed"], first["heard"], second["false"]) == (["I am fine"], 50.0, ["never call me again"])
    (tmp_path / "en.toml").write_text("[asks]")
    broken = runner.invoke(main, ["en", "--sets", str(tmp_path)])
    assert broken.exit_code == 1
    assert "develop, held_out and later" in broken.output


@settings(deadline=None)
@given(st.text(), st.sampled_from([*LANGUAGES, "multi", "xx"]))
def test_any_text_is_listened_to(text: str, language: str) -> None:
    """Nothing that can be transcribed is an error."""
    assert spoken_opt_out(text, language) in {True, False}

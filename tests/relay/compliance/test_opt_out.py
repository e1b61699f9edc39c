"""Hearing "stop calling me": what asks for it, and what only sounds like it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.compliance.opt_out import spoken_opt_out
from relay.compliance.opt_out_phrases import LANGUAGES

ASKS = {
    "en": [
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
def test_a_plain_wish_is_heard(language: str, words: str) -> None:
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


def test_a_wish_is_heard_among_other_words() -> None:
    """One sentence of many is enough, and what another one says does not weaken it."""
    assert spoken_opt_out("No, I don't. Who is this? I told you people before: stop calling me. Goodbye.", "en")


def test_all_languages_are_told_apart_by_tests() -> None:
    """Each language that is listened to has wishes and remarks here."""
    assert ASKS.keys() == DOES_NOT_ASK.keys() == LANGUAGES.keys()


@pytest.mark.parametrize("phrases", LANGUAGES.values(), ids=LANGUAGES.keys())
def test_phrases_are_written_as_words_are_heard(phrases: object) -> None:
    """A capital, an accent or an apostrophe in a phrase could never be matched."""
    asking = getattr(phrases, "asking")  # noqa: B009
    assert re.fullmatch(r"[a-zA-Z_ \n()|\[\]{}*^?]+", asking)


@settings(deadline=None)
@given(st.text(), st.sampled_from([*LANGUAGES, "multi", "xx"]))
def test_any_text_is_listened_to(text: str, language: str) -> None:
    """Nothing that can be transcribed is an error."""
    assert spoken_opt_out(text, language) in {True, False}

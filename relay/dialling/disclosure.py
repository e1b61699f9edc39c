"""The sentence with which an outbound call opens: that a machine speaks, and for whom.

Whoever is called has not asked for it, so who is calling comes first. In the United States an artificial voice must
name the party that is responsible for the call at its beginning (47 CFR 64.1200(b)(1)), and the regulator counts
generated voices among them (FCC 24-17). A language is chosen as in `relay.speech.phrases`: by its primary tag, with
Portuguese in Portugal apart, and English for what is not here.
"""

from __future__ import annotations

import re

_LONGEST_NAME = 100


def disclosure_for(language: str, agent_name: str) -> str:
    """Return the sentence in a language, given as a BCP 47 tag, naming whom the call is for; empty names nobody.

    The name is spoken as it is, on one line and shortened to what a person would listen to.
    """
    tag = language.replace("_", "-").lower()
    primary = tag.partition("-")[0]
    primary = _SAME_AS.get(primary, primary)
    named, nameless = _SENTENCES.get(tag) or _SENTENCES.get(primary) or _SENTENCES["en"]
    name = re.sub(r"[\s\x00-\x1f\x7f]+", " ", agent_name).strip()[:_LONGEST_NAME]
    return named.format(name=name) if name else nameless


# Norwegian has one written form here: `no` covers both, `nn` is the other. Mandarin goes by two names.
_SAME_AS = {"no": "nb", "nn": "nb", "cmn": "zh"}

_SENTENCES = {
    "en": ("Hello, this is an AI assistant calling on behalf of {name}.", "Hello, this is an AI assistant calling."),
    "de": (
        "Guten Tag, hier spricht ein KI-Assistent im Auftrag von {name}.",
        "Guten Tag, hier spricht ein KI-Assistent.",
    ),
    "fr": (
        "Bonjour, je suis un assistant à intelligence artificielle et je vous appelle de la part de {name}.",
        "Bonjour, je suis un assistant à intelligence artificielle.",
    ),
    "es": (
        "Hola, soy un asistente de inteligencia artificial y le llamo de parte de {name}.",
        "Hola, le llama un asistente de inteligencia artificial.",
    ),
    "it": (
        "Buongiorno, sono un assistente di intelligenza artificiale e chiamo per conto di {name}.",
        "Buongiorno, sono un assistente di intelligenza artificiale.",
    ),
    "pt": (
        "Olá, aqui é um assistente de inteligência artificial ligando em nome de {name}.",
        "Olá, aqui é um assistente de inteligência artificial.",
    ),
    "pt-pt": (
        "Bom dia, sou um assistente de inteligência artificial e estou a ligar em nome de {name}.",
        "Bom dia, sou um assistente de inteligência artificial.",
    ),
    "nl": ("Goedendag, u spreekt met een AI-assistent namens {name}.", "Goedendag, u spreekt met een AI-assistent."),
    "pl": (
        "Dzień dobry, mówi asystent oparty na sztucznej inteligencji, dzwonię w imieniu: {name}.",
        "Dzień dobry, mówi asystent oparty na sztucznej inteligencji.",
    ),
    "sv": ("Hej, det här är en AI-assistent som ringer för {name}.", "Hej, det här är en AI-assistent som ringer."),
    "da": (
        "Goddag, dette er en AI-assistent, der ringer på vegne af {name}.",
        "Goddag, dette er en AI-assistent, der ringer.",
    ),
    "nb": ("Hei, dette er en KI-assistent som ringer på vegne av {name}.", "Hei, dette er en KI-assistent som ringer."),
    "fi": (
        "Hei, tämä on tekoälyavustajan puhelu. Soitan seuraavan tahon puolesta: {name}.",
        "Hei, tämä on tekoälyavustajan puhelu.",
    ),
    "ja": (
        "お電話失礼いたします。こちらはAIアシスタントです。{name}に代わってお電話しております。",
        "お電話失礼いたします。こちらはAIアシスタントです。",
    ),
    "zh": ("您好，我是人工智能助理，代表{name}给您打电话。", "您好，我是人工智能助理。"),
    "ko": ("안녕하세요, {name}을 대신하여 전화드리는 AI 상담원입니다.", "안녕하세요, AI 상담원입니다."),
}

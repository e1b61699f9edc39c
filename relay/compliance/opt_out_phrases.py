"""The ways to ask not to be called again, by language, written so that somebody who speaks it can check them.

One phrase a line, in small letters without accents, apostrophes and punctuation ("don't" is `dont`, "m'appeler" is
`mappeler`). `(a|b)` is one of them, `[a|b]` one of them or nothing, `*` any word or rest of a word, `^` the beginning
of a sentence and `$` its end; `{a|b}` must follow, but is not part of the phrase; `?` is a question mark. A word in
capitals stands for the words of that name.

The order of words tells a demand from a remark in most of these languages, and where it does not ("ruf mich nicht mehr
an", "rufst du mich nicht mehr an"), a question mark or a word such as "why" does.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class Phrases:
    """One language: what asks, and what turns it into something else when it stands right before or right after."""

    names: Mapping[str, str]
    asking: str
    not_after: str
    not_before: str


_ENGLISH = Phrases(
    names={
        "ME": "me|us|this number|my number|here|my (home|house|phone|cell|mobile|work)",
        "CALL": "call|calling|phone|phoning|ring|ringing|contact|contacting",
        "CALLING": "calling|phoning|ringing|contacting",
        "NO_MORE": "again|any more|anymore|any longer|at all",
        "LIST": "(your|this) [OF_CALLS] RECORDS|the OF_CALLS RECORDS",
        "OF_CALLS": "call|calling|calls|phone|telephone|contact|marketing|telemarketing|sales",
        "RECORDS": "list|lists|database|records|system",
        "HOUR": "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|1*|2*|3*|4*|5*|6*|7*|8*|9*",
        # "Stop calling me Bob" and "stop calling me at work" are other wishes, so what may follow is told by name.
        "GOES_ON": "please|now|right now|ok|okay|thanks|thank|any more|anymore|again|ever|immediately|already|forever"
        "|for good|at all|altogether|and|or|because|i|im|ive|ill|id|we|this is|its|you|youre|understand|understood"
        "|goodbye|bye|(at|on) (this|my) (number|phone|cell|mobile|line)|?|$",
    },
    asking="""
        (stop|quit) CALLING ME {GOES_ON}
        if you (dont|do not) (stop|quit) CALLING ME
        (dont|do not|never|not to) [ever] CALL ME [*] [*] [*] NO_MORE
        (dont|do not|never) ever CALL ME {GOES_ON}
        (take|get) (me|us|my name|(this|my) [*] number) off [of] LIST
        (remove|delete|erase|take) (me|us|my name|(this|my) [*] number) from LIST
        (put|place|add) (me|us|(this|my) [*] number) (on|to|onto) (your|the|a) do not call list
        [i|we] (dont|do not) want (you|you people|anyone|anybody) to CALL ME NO_MORE
        [i|we] (dont|do not) want (any|to (get|receive) any) (more|further) [of] [these|your] [phone] calls
        [i|we] (dont|do not) want to be (called|contacted|phoned) (again|any more|anymore|any longer)
        opt [me] out of (these|your|all|any|further|future) [*] calls
    """,
    not_after="""
        (dont|do not|didnt|did not|doesnt|never|not|wont|will not|wouldnt|cant|cannot|shouldnt) [ever|just]
        (dont|do not|doesnt|didnt|not) (want|need|have|like|ask|tell) [you|them|him|her|anyone] to
        (did|does|do) (you|they|he|she|it)
        (if|why|when|unless|because|that) (you|they|he|she|we|i)
        they|he|she|who|why|never said|didnt say|did not say
        i|we
    """,
    not_before="""
        until|till|before|after|unless|when|while|during
        today|tonight|tomorrow|this (morning|afternoon|evening|week|weekend|late|early)
        so (late|early|soon)|at (this (hour|time)|night|work|home|HOUR)
        on (*day|*days|weekends|holidays)|in (the|a|an|five|ten)
        for (the|a|an|at)|like that|with
    """,
)

_GERMAN = Phrases(
    names={
        "ME": "mich|uns|hier|diese nummer|meine nummer|unter dieser nummer",
        "NEVER": "(nicht|nie|niemals) (mehr|wieder)",
        "WANT": "(mochte|will|mochten|wollen) [ich|wir]",
        "LIST": "(ihrer|deiner|eurer|dieser|der) [*] (*liste|*datenbank|*kartei)|(ihrem|eurem|dem) [*] *verteiler",
    },
    asking="""
        (rufen sie|ruf|ruft) [bitte] ME [hier] [bitte] [*] NEVER an
        (horen sie|hor|hort) [bitte|endlich|jetzt|sofort] [bitte|endlich] auf ME [*] anzurufen
        (sie sollen|du sollst|ihr sollt) ME NEVER anrufen
        WANT dass (sie|du|ihr) ME NEVER anrufen
        WANT [bitte] [von ihnen] NEVER angerufen werden
        WANT [bitte] keine [weiteren] anrufe mehr [von ihnen] [bekommen|erhalten]
        (nehmen|streichen|loschen|entfernen) sie [bitte] (mich|uns|meine nummer|diese nummer) [bitte] (von|aus) LIST
    """,
    not_after="""
        warum|wieso|weshalb|wenn|ob|falls|dass|nicht|sie
    """,
    not_before="""
        ?|bevor|solange|wenn|vor|nach|bis|ausser|heute|morgen
    """,
)

_SPANISH = Phrases(
    names={
        "CALL": "llame|llames|llamen|llameis|telefonee|contacte|contacten",
        "AGAIN": "vuelva|vuelvas|vuelvan|volvais",
        "NO_MORE": "mas|nunca mas|nunca|jamas|otra vez|de nuevo",
        "LIST": "(su|sus|tu|vuestra|esta|la) (lista|listas|base|registros)",
    },
    asking="""
        no (me|nos) CALL [por favor|a este numero|aqui] NO_MORE
        no CALL (mas|nunca mas) (a este numero|a mi numero|aqui)
        no (me|nos) AGAIN a (llamar|telefonear|contactar)
        no AGAIN a (llamar|llamarme|llamarnos)
        (deje|deja|dejen|dejad) [ya] de (llamarme|llamarnos|telefonearme|contactarme|llamar a este numero)
        (quiteme|quitenme|quitame|borreme|borrenme|borrame|elimineme|eliminenme|saqueme|saquenme) de LIST
        (quite|quiten|quita|borre|borren|borra|elimine|eliminen|saque|saquen) mi numero de LIST
        no quiero [recibir] mas llamadas
        no quiero que (me|nos) (CALL NO_MORE|AGAIN a llamar)
    """,
    not_after="""
        no|nunca|por que|si|cuando
    """,
    not_before="""
        ?|tarde|temprano|que|de (una|dos|tres)|hasta|antes|despues|hoy|manana|esta (noche|tarde|semana)
        cuando|si|por la|a las|los|veces
    """,
)

_FRENCH = Phrases(
    names={
        "CALL_ME": "mappelez|me rappelez|nous appelez|me telephonez|me contactez",
        "TO_CALL_ME": "mappeler|me rappeler|nous appeler|me telephoner|me contacter",
        "LIST": "(votre|vos|ta|tes|cette|la) (liste|listes|fichier|fichiers|base)",
    },
    # In the familiar form a demand and a remark ("Marie ne m'appelle plus") differ only in what stands before.
    asking="""
        [ne] CALL_ME [jamais] plus [jamais]
        (nappelez|nappelle) (plus|plus jamais|jamais) (ce numero|mon numero|ici)
        ^ [non] [sil (te|vous) plait] ne (mappelle|me rappelle|me telephone) plus [jamais]
        (arretez|arrete|cessez|cesse) de TO_CALL_ME
        (arretez|arrete|cessez|cesse) dappeler (ce numero|ici)
        (retirez|enlevez|supprimez|rayez|effacez|otez) (moi|nous|mon numero|ce numero) de LIST
        je ne (veux|souhaite) plus etre (appele|appelee|contacte|contactee)
        je ne (veux|souhaite) plus recevoir (vos appels|ces appels|de appels|dappels)
        je ne veux plus que vous (mappeliez|me rappeliez|me contactiez)
        (merci de|veuillez|priere de|(vous|te) (demande|prie) de) ne plus TO_CALL_ME
    """,
    not_after="""
        vous [ne]
        (pourquoi|si|qui) [*] [ne]
        (il|ils|elle|elles|on|tu) [ne]
    """,
    not_before="""
        ?|avant|apres|tard|tot|souvent|pendant|quand|que|jusqua|si
        le (matin|soir|midi|week|dimanche|samedi|lundi|mardi|mercredi|jeudi|vendredi)
        ce soir|aujourdhui|demain|au (travail|bureau)|a (cette|ces|*0|*1|*2|*3|*4|*5|*6|*7|*8|*9)
    """,
)

_ITALIAN = Phrases(
    names={
        "CALL": "chiami|chiamate|chiamare|telefoni|telefonate|richiami|richiamate|contatti|contattate",
        "CALL_ME": "chiamarmi|chiamatemi|chiamarci|chiamateci|richiamarmi|richiamatemi|telefonarmi|telefonatemi",
        "LIST": "(dalla|dalle|dal|dai) [vostra|vostre|vostro|sua|sue|suo|tua] (lista|liste|elenco|elenchi|database)",
    },
    asking="""
        non (mi|ci) CALL [mai] piu
        non CALL_ME [mai] piu
        non CALL [mai] piu (questo numero|qui)
        (la smetta|smetta|smettila|smetti|smettetela|smettete) di (chiamarmi|chiamarci|telefonarmi|contattarmi)
        (mi tolga|mi tolgano|toglietemi|toglimi|mi cancelli|cancellatemi|mi rimuova|rimuovetemi) LIST
        (tolga|togliete|cancelli|cancellate|rimuova|rimuovete) il mio numero LIST
        non voglio piu essere (chiamato|chiamata|contattato|contattata)
        non voglio piu ricevere [le] [vostre|sue] (chiamate|telefonate)
    """,
    not_after="""
        non|perche|se|quando|come mai|che
    """,
    not_before="""
        ?|tardi|spesso|presto|di|che|prima|dopo|fino|oggi|domani|stasera|la|il|al|alle|quando|se|in
    """,
)

_PORTUGUESE = Phrases(
    names={
        "CALL": "ligue|ligues|liguem|telefone|telefonem|contacte|contactem|contate|contatem",
        "TO_CALL": "ligar|telefonar|contactar|contatar",
        "HERE": "para (mim|ca|aqui|este numero|esse numero)|pra (mim|ca)",
        "LIST": "(da|das|dessa|desta|de) [sua|vossa|tua|suas|vossas] (lista|listas|base|cadastro)",
    },
    asking="""
        nao (me|nos) CALL (mais|nunca mais|novamente|de novo|outra vez)
        nao CALL (mais|nunca mais) HERE
        nunca mais (me|nos) CALL
        nao [me|nos] (volte|voltes|voltem) a [me] TO_CALL
        (pare|parem|para|deixe|deixem) de (me|nos) TO_CALL
        (pare|parem|para|deixe|deixem) de TO_CALL HERE
        [me] (tire|tirem|retire|retirem|remova|removam|apague|exclua) [me] [o meu numero|meu numero] LIST
        nao quero [receber] mais [receber] [as suas|suas|essas] (ligacoes|chamadas|telefonemas)
        nao quero que (me|nos) CALL (mais|nunca mais|de novo|outra vez)
    """,
    not_after="""
        nao [me]
        por que|porque|se|quando|que
    """,
    not_before="""
        ?|tarde|cedo|de (uma|duas|tres|manha|noite)|do que|que|ate|antes|depois|hoje|amanha|a noite
        as|aos|quando|se|vezes|no|na
    """,
)

_DUTCH = Phrases(
    names={
        "ME": "me|mij|ons|dit nummer|hier",
        "PLEASE": "alstublieft|alsjeblieft|aub",
        "NEVER": "(niet|nooit) (meer|weer)",
        "WANT": "(wil|wens|willen) [ik]",
        "LIST": "(van|uit) (uw|je|jullie|deze|de) (*lijst|bestand|systeem|database)",
    },
    asking="""
        (bel|belt u|bellen jullie) ME [PLEASE] [ooit] NEVER [op]
        (u|je|jullie) (moet|moeten|mag|mogen) ME NEVER bellen
        ^ [gelieve|graag] ME NEVER [te] bellen
        (stop|stopt u|stoppen jullie) [PLEASE] met [me|mij|ons] [steeds] [te] bellen
        (hou|houd|houdt u) [eens|er] (op|mee op) [met] (me|mij|ons) [steeds] [te] bellen
        (haal|haalt u|verwijder|verwijdert u|schrap|schrapt u) (me|mij|ons|mijn nummer|dit nummer) LIST
        WANT [door (u|jullie)] (niet|nooit) meer (gebeld|benaderd) worden
        WANT geen (telefoontjes|oproepen) meer
    """,
    not_after="""
        waarom|als|wanneer|of|dat|niet|ze|zij|hij
    """,
    not_before="""
        ?|voor|na|tot|als|wanneer|vandaag|morgen|vanavond|op|in|tijdens|zo|om|s avonds|savonds|overdag|tenzij
    """,
)

LANGUAGES: Mapping[str, Phrases] = {
    "en": _ENGLISH,
    "de": _GERMAN,
    "fr": _FRENCH,
    "es": _SPANISH,
    "it": _ITALIAN,
    "pt": _PORTUGUESE,
    "nl": _DUTCH,
}

"""What the relay says in its own voice, in the languages that callers speak.

A phrase is chosen by the primary tag of a BCP 47 language (RFC 5646, 2.2.1); a region has its own only where people
would notice (Portuguese in Portugal). A language that is not here, and `multi`, gets English: a caller who hears a
foreign sentence still learns that somebody is there.

All sentences address a stranger politely, say what happens next, and hold nothing that a voice could stumble over.
"""

from __future__ import annotations

import attrs

from actors.policy import Phrases


@attrs.frozen(kw_only=True)
class CarrierPhrases:
    """What is said through TwiML, where no session is up.

    `busy` when nobody can be let in, `cut_off` on reconnecting, `whisper` to the person who picks up a transfer.
    """

    busy: str = "I'm sorry, all lines are busy at the moment. Please call again in a few minutes. Goodbye."
    cut_off: str = "I'm sorry, we were cut off. Please go on."
    whisper: str = "A caller wants to speak to you. Press 1 to take the call."


def phrases_for(language: str) -> Phrases:
    """Return the sentences of a live call in a language, given as a BCP 47 tag; English where it is not known."""
    return _choose(language)[0]


def carrier_phrases_for(language: str) -> CarrierPhrases:
    """Return the sentences that the carrier says for us, in a language given as `phrases_for` takes it."""
    return _choose(language)[1]


def word_for_and(language: str) -> str:
    """Return how `&` is said in a language."""
    return _AND.get(_primary(language), _AND["en"])


def word_for_less_than(language: str) -> str:
    """Return how `<` is said before a number in a language; after the number where it begins with an ellipsis."""
    return _LESS_THAN.get(_primary(language), _LESS_THAN["en"])


def _choose(language: str) -> tuple[Phrases, CarrierPhrases]:
    tag = language.replace("_", "-").lower()
    return _BY_LANGUAGE.get(tag) or _BY_LANGUAGE.get(_primary(tag)) or _BY_LANGUAGE["en"]


def _primary(language: str) -> str:
    tag = language.replace("_", "-").partition("-")[0].lower()
    return _SAME_AS.get(tag, tag)


# Norwegian has one written form here: `no` covers both, `nn` is the other. Mandarin goes by two names.
_SAME_AS = {"no": "nb", "nn": "nb", "cmn": "zh"}

_AND = {
    "da": "og", "de": "und", "en": "and", "es": "y", "fi": "ja", "fr": "et", "it": "e", "ja": "と", "ko": "그리고",
    "nb": "og", "nl": "en", "pl": "i", "pt": "e", "sv": "och", "zh": "和",
}  # fmt: skip

_LESS_THAN = {
    "da": "mindre end", "de": "weniger als", "en": "less than", "es": "menos de", "fi": "alle", "fr": "moins de",
    "it": "meno di", "ja": "…未満", "ko": "… 미만", "nb": "mindre enn", "nl": "minder dan", "pl": "mniej niż",
    "pt": "menos de", "sv": "mindre än", "zh": "小于",
}  # fmt: skip

_BY_LANGUAGE = {
    "en": (
        Phrases(
            filler=("One moment, please.", "Let me see."),
            long_filler="I am still on it. Thank you for waiting.",
        ),
        CarrierPhrases(),
    ),
    "de": (
        Phrases(
            filler=("Einen Moment, bitte.", "Ich sehe nach."),
            long_filler="Ich bin noch dabei. Danke für Ihre Geduld.",
            apology="Es tut mir leid, ich bekomme gerade keine Antwort für Sie.",
            unavailable="Es tut mir leid, im Moment kann niemand Ihren Anruf annehmen. "
            "Bitte versuchen Sie es später noch einmal. Auf Wiederhören.",
            message_taken="Danke, ich habe das notiert.",
            message_kept="Danke, Ihre Nachricht ist aufgezeichnet. Auf Wiederhören.",
            callee_unavailable="Es tut mir leid, der Assistent, der Sie angerufen hat, ist nicht mehr erreichbar. "
            "Auf Wiederhören.",
            still_there="Sind Sie noch da?",
            silence_goodbye="Ich kann Sie nicht hören und lege deshalb jetzt auf. Auf Wiederhören.",
            time_goodbye="Es tut mir leid, die Höchstdauer dieses Gesprächs ist erreicht. Auf Wiederhören.",
            drain_goodbye="Es tut mir leid, ich muss das Gespräch jetzt beenden. "
            "Bitte rufen Sie gleich noch einmal an. Auf Wiederhören.",
        ),
        CarrierPhrases(
            busy="Es tut mir leid, zurzeit sind alle Leitungen belegt. "
            "Bitte rufen Sie in ein paar Minuten noch einmal an. Auf Wiederhören.",
            cut_off="Es tut mir leid, wir wurden unterbrochen. Bitte sprechen Sie weiter.",
            whisper="Ein Anrufer möchte mit Ihnen sprechen. Drücken Sie die 1, um das Gespräch anzunehmen.",
        ),
    ),
    "fr": (
        Phrases(
            filler=("Un instant, s'il vous plaît.", "Je regarde."),
            long_filler="Je m'en occupe encore. Merci de patienter.",
            apology="Je suis désolé, je n'arrive pas à obtenir de réponse pour vous en ce moment.",
            unavailable="Je suis désolé, personne ne peut prendre votre appel pour le moment. "
            "Merci de rappeler plus tard. Au revoir.",
            message_taken="Merci, c'est noté.",
            message_kept="Merci, votre message est enregistré. Au revoir.",
            callee_unavailable="Je suis désolé, l'assistant qui vous a appelé n'est plus disponible. Au revoir.",
            still_there="Êtes-vous toujours là ?",
            silence_goodbye="Je ne vous entends pas, je vais donc raccrocher. Au revoir.",
            time_goodbye="Je suis désolé, cet appel a atteint sa durée maximale. Au revoir.",
            drain_goodbye="Je suis désolé, je dois mettre fin à cet appel. "
            "Merci de rappeler dans un instant. Au revoir.",
        ),
        CarrierPhrases(
            busy="Je suis désolé, toutes les lignes sont occupées. Merci de rappeler dans quelques minutes. Au revoir.",
            cut_off="Je suis désolé, nous avons été coupés. Je vous écoute.",
            whisper="Quelqu'un souhaite vous parler. Appuyez sur la touche 1 pour prendre l'appel.",
        ),
    ),
    "es": (
        Phrases(
            filler=("Un momento, por favor.", "Déjeme ver."),
            long_filler="Sigo en ello. Gracias por esperar.",
            apology="Lo siento, ahora mismo no consigo una respuesta para usted.",
            unavailable="Lo siento, en este momento nadie puede atender su llamada. "
            "Por favor, inténtelo más tarde. Adiós.",
            message_taken="Gracias, he tomado nota.",
            message_kept="Gracias, su mensaje ha quedado registrado. Adiós.",
            callee_unavailable="Lo siento, el asistente que le ha llamado ya no está disponible. Adiós.",
            still_there="¿Sigue ahí?",
            silence_goodbye="No puedo oírle, así que voy a colgar. Adiós.",
            time_goodbye="Lo siento, esta llamada ha alcanzado su duración máxima. Adiós.",
            drain_goodbye="Lo siento, tengo que terminar esta llamada. "
            "Por favor, vuelva a llamar en un momento. Adiós.",
        ),
        CarrierPhrases(
            busy="Lo siento, todas las líneas están ocupadas. "
            "Por favor, vuelva a llamar dentro de unos minutos. Adiós.",
            cut_off="Lo siento, se ha cortado la llamada. Continúe, por favor.",
            whisper="Alguien desea hablar con usted. Pulse 1 para atender la llamada.",
        ),
    ),
    "it": (
        Phrases(
            filler=("Un momento, per favore.", "Vediamo."),
            long_filler="Ci sto ancora lavorando. Grazie per l'attesa.",
            apology="Mi dispiace, in questo momento non riesco ad avere una risposta per lei.",
            unavailable="Mi dispiace, al momento nessuno può rispondere alla sua chiamata. "
            "La preghiamo di riprovare più tardi. Arrivederci.",
            message_taken="Grazie, ne ho preso nota.",
            message_kept="Grazie, il suo messaggio è stato registrato. Arrivederci.",
            callee_unavailable="Mi dispiace, l'assistente che l'ha chiamata non è più disponibile. Arrivederci.",
            still_there="È ancora in linea?",
            silence_goodbye="Non la sento, quindi chiudo la chiamata. Arrivederci.",
            time_goodbye="Mi dispiace, questa chiamata ha raggiunto la durata massima. Arrivederci.",
            drain_goodbye="Mi dispiace, devo terminare la chiamata. Richiami tra un momento, per favore. Arrivederci.",
        ),
        CarrierPhrases(
            busy="Mi dispiace, tutte le linee sono occupate. Richiami tra qualche minuto, per favore. Arrivederci.",
            cut_off="Mi dispiace, è caduta la linea. Continui pure.",
            whisper="Qualcuno desidera parlare con lei. Prema 1 per accettare la chiamata.",
        ),
    ),
    "pt": (
        Phrases(
            filler=("Um momento, por favor.", "Deixe-me ver."),
            long_filler="Ainda estou verificando. Obrigado por esperar.",
            apology="Desculpe, não estou conseguindo uma resposta para você agora.",
            unavailable="Desculpe, no momento ninguém pode atender a sua ligação. "
            "Por favor, tente novamente mais tarde. Até logo.",
            message_taken="Obrigado, já anotei.",
            message_kept="Obrigado, a sua mensagem foi registrada. Até logo.",
            callee_unavailable="Desculpe, o assistente que ligou para você não está mais disponível. Até logo.",
            still_there="Você ainda está aí?",
            silence_goodbye="Não consigo ouvir você, então vou desligar. Até logo.",
            time_goodbye="Desculpe, esta ligação atingiu o tempo máximo. Até logo.",
            drain_goodbye="Desculpe, preciso encerrar esta ligação agora. "
            "Por favor, ligue de novo daqui a pouco. Até logo.",
        ),
        CarrierPhrases(
            busy="Desculpe, todas as linhas estão ocupadas. Por favor, ligue de novo em alguns minutos. Até logo.",
            cut_off="Desculpe, a ligação caiu. Pode continuar.",
            whisper="Alguém quer falar com você. Pressione 1 para atender a ligação.",
        ),
    ),
    "pt-pt": (
        Phrases(
            filler=("Um momento, por favor.", "Deixe-me ver."),
            long_filler="Ainda estou a verificar. Obrigado por aguardar.",
            apology="Peço desculpa, de momento não consigo obter uma resposta para si.",
            unavailable="Peço desculpa, de momento ninguém pode atender a sua chamada. "
            "Por favor, tente novamente mais tarde. Adeus.",
            message_taken="Obrigado, já tomei nota.",
            message_kept="Obrigado, a sua mensagem ficou registada. Adeus.",
            callee_unavailable="Peço desculpa, o assistente que lhe ligou já não está disponível. Adeus.",
            still_there="Ainda está aí?",
            silence_goodbye="Não consigo ouvi-lo, por isso vou desligar. Adeus.",
            time_goodbye="Peço desculpa, esta chamada atingiu a duração máxima. Adeus.",
            drain_goodbye="Peço desculpa, tenho de terminar esta chamada. "
            "Por favor, volte a ligar dentro de momentos. Adeus.",
        ),
        CarrierPhrases(
            busy="Peço desculpa, todas as linhas estão ocupadas. "
            "Por favor, volte a ligar dentro de alguns minutos. Adeus.",
            cut_off="Peço desculpa, a chamada caiu. Pode continuar.",
            whisper="Alguém deseja falar consigo. Prima 1 para atender a chamada.",
        ),
    ),
    "nl": (
        Phrases(
            filler=("Een ogenblik, alstublieft.", "Ik kijk het even na."),
            long_filler="Ik ben er nog mee bezig. Dank u voor het wachten.",
            apology="Het spijt me, ik krijg op dit moment geen antwoord voor u.",
            unavailable="Het spijt me, er is nu niemand beschikbaar om uw gesprek aan te nemen. "
            "Probeert u het later nog eens. Tot ziens.",
            message_taken="Dank u, ik heb het genoteerd.",
            message_kept="Dank u, uw bericht is vastgelegd. Tot ziens.",
            callee_unavailable="Het spijt me, de assistent die u belde is niet meer beschikbaar. Tot ziens.",
            still_there="Bent u er nog?",
            silence_goodbye="Ik kan u niet horen, dus ik hang nu op. Tot ziens.",
            time_goodbye="Het spijt me, dit gesprek heeft de maximale duur bereikt. Tot ziens.",
            drain_goodbye="Het spijt me, ik moet dit gesprek nu beëindigen. Belt u zo meteen nog eens. Tot ziens.",
        ),
        CarrierPhrases(
            busy="Het spijt me, alle lijnen zijn bezet. Belt u over een paar minuten nog eens. Tot ziens.",
            cut_off="Het spijt me, de verbinding werd verbroken. Gaat u verder.",
            whisper="Iemand wil u spreken. Druk op 1 om het gesprek aan te nemen.",
        ),
    ),
    "pl": (
        Phrases(
            filler=("Chwileczkę, proszę.", "Już sprawdzam."),
            long_filler="Nadal to sprawdzam. Dziękuję za cierpliwość.",
            apology="Przepraszam, w tej chwili nie mogę uzyskać odpowiedzi.",
            unavailable="Przepraszam, w tej chwili nikt nie może odebrać tego połączenia. "
            "Proszę spróbować później. Do widzenia.",
            message_taken="Dziękuję, wiadomość jest zapisana.",
            message_kept="Dziękuję, Państwa wiadomość została zapisana. Do widzenia.",
            callee_unavailable="Przepraszam, asystent, który do Państwa zadzwonił, nie jest już dostępny. Do widzenia.",
            still_there="Czy nadal mnie słychać?",
            silence_goodbye="Nic nie słyszę, więc się rozłączam. Do widzenia.",
            time_goodbye="Przepraszam, upłynął maksymalny czas tej rozmowy. Do widzenia.",
            drain_goodbye="Przepraszam, muszę teraz zakończyć tę rozmowę. Proszę zadzwonić za chwilę. Do widzenia.",
        ),
        CarrierPhrases(
            busy="Przepraszam, wszystkie linie są zajęte. Proszę zadzwonić za kilka minut. Do widzenia.",
            cut_off="Przepraszam, połączenie zostało przerwane. Proszę mówić dalej.",
            whisper="Ktoś chce z Państwem porozmawiać. Aby odebrać połączenie, proszę nacisnąć 1.",
        ),
    ),
    "sv": (
        Phrases(
            filler=("Ett ögonblick.", "Jag ser efter."),
            long_filler="Jag håller fortfarande på. Tack för att du väntar.",
            apology="Jag är ledsen, jag kan inte få fram något svar åt dig just nu.",
            unavailable="Jag är ledsen, ingen kan ta emot ditt samtal just nu. Försök gärna igen senare. Hej då.",
            message_taken="Tack, jag har antecknat det.",
            message_kept="Tack, ditt meddelande är sparat. Hej då.",
            callee_unavailable="Jag är ledsen, assistenten som ringde dig är inte längre tillgänglig. Hej då.",
            still_there="Är du kvar?",
            silence_goodbye="Jag kan inte höra dig, så jag lägger på nu. Hej då.",
            time_goodbye="Jag är ledsen, samtalet har nått sin längsta tid. Hej då.",
            drain_goodbye="Jag är ledsen, jag måste avsluta samtalet nu. Ring gärna igen om en stund. Hej då.",
        ),
        CarrierPhrases(
            busy="Jag är ledsen, alla linjer är upptagna. Ring gärna igen om några minuter. Hej då.",
            cut_off="Jag är ledsen, samtalet bröts. Fortsätt gärna.",
            whisper="Någon vill prata med dig. Tryck på 1 för att ta samtalet.",
        ),
    ),
    "da": (
        Phrases(
            filler=("Et øjeblik.", "Jeg ser lige efter."),
            long_filler="Jeg er stadig i gang. Tak, fordi du venter.",
            apology="Jeg beklager, jeg kan ikke få et svar til dig lige nu.",
            unavailable="Jeg beklager, der er ingen, der kan tage dit opkald lige nu. Prøv igen senere. Farvel.",
            message_taken="Tak, jeg har noteret det.",
            message_kept="Tak, din besked er gemt. Farvel.",
            callee_unavailable="Jeg beklager, assistenten, der ringede til dig, er ikke længere til rådighed. Farvel.",
            still_there="Er du der stadig?",
            silence_goodbye="Jeg kan ikke høre dig, så jeg lægger på nu. Farvel.",
            time_goodbye="Jeg beklager, samtalen har nået sin maksimale længde. Farvel.",
            drain_goodbye="Jeg beklager, jeg er nødt til at afslutte samtalen nu. Ring igen om et øjeblik. Farvel.",
        ),
        CarrierPhrases(
            busy="Jeg beklager, alle linjer er optaget. Ring igen om et par minutter. Farvel.",
            cut_off="Jeg beklager, vi blev afbrudt. Fortsæt endelig.",
            whisper="En person vil gerne tale med dig. Tryk på 1 for at tage opkaldet.",
        ),
    ),
    "nb": (
        Phrases(
            filler=("Et øyeblikk.", "Jeg skal se etter."),
            long_filler="Jeg holder fortsatt på. Takk for at du venter.",
            apology="Beklager, jeg får ikke noe svar til deg akkurat nå.",
            unavailable="Beklager, ingen kan ta imot samtalen din akkurat nå. Prøv igjen senere. Ha det.",
            message_taken="Takk, jeg har notert det.",
            message_kept="Takk, beskjeden din er lagret. Ha det.",
            callee_unavailable="Beklager, assistenten som ringte deg er ikke tilgjengelig lenger. Ha det.",
            still_there="Er du der fortsatt?",
            silence_goodbye="Jeg kan ikke høre deg, så jeg legger på nå. Ha det.",
            time_goodbye="Beklager, samtalen har nådd maksimal lengde. Ha det.",
            drain_goodbye="Beklager, jeg må avslutte samtalen nå. Ring igjen om et øyeblikk. Ha det.",
        ),
        CarrierPhrases(
            busy="Beklager, alle linjer er opptatt. Ring igjen om noen minutter. Ha det.",
            cut_off="Beklager, vi ble brutt. Bare fortsett.",
            whisper="Noen vil gjerne snakke med deg. Trykk 1 for å ta imot samtalen.",
        ),
    ),
    "fi": (
        Phrases(
            filler=("Hetkinen, olkaa hyvä.", "Katsotaanpa."),
            long_filler="Selvitän asiaa edelleen. Kiitos odotuksesta.",
            apology="Olen pahoillani, en saa teille vastausta juuri nyt.",
            unavailable="Olen pahoillani, kukaan ei voi vastata puheluunne juuri nyt. "
            "Yrittäkää myöhemmin uudelleen. Kuulemiin.",
            message_taken="Kiitos, kirjasin sen ylös.",
            message_kept="Kiitos, viestinne on tallennettu. Kuulemiin.",
            callee_unavailable="Olen pahoillani, teille soittanut avustaja ei ole enää tavoitettavissa. Kuulemiin.",
            still_there="Oletteko vielä linjalla?",
            silence_goodbye="En kuule teitä, joten lopetan puhelun. Kuulemiin.",
            time_goodbye="Olen pahoillani, puhelun enimmäiskesto on täynnä. Kuulemiin.",
            drain_goodbye="Olen pahoillani, minun on lopetettava tämä puhelu. "
            "Soittakaa hetken kuluttua uudelleen. Kuulemiin.",
        ),
        CarrierPhrases(
            busy="Olen pahoillani, kaikki linjat ovat varattuja. "
            "Soittakaa muutaman minuutin kuluttua uudelleen. Kuulemiin.",
            cut_off="Olen pahoillani, yhteys katkesi. Voitte jatkaa.",
            whisper="Soittaja haluaa puhua kanssanne. Vastatkaa puheluun painamalla 1.",
        ),
    ),
    "ja": (
        Phrases(
            filler=("少々お待ちください。", "確認いたします。"),
            long_filler="ただいま確認しております。もうしばらくお待ちください。",
            apology="申し訳ございません。ただいまお返事をご用意できません。",
            unavailable="申し訳ございません。ただいま電話に出られる者がおりません。後ほどおかけ直しください。失礼いたします。",
            message_taken="ありがとうございます。ご伝言を承りました。",
            message_kept="ありがとうございます。ご伝言は記録いたしました。失礼いたします。",
            callee_unavailable="申し訳ございません。お電話を差し上げたアシスタントは、ただいま応答できなくなりました。失礼いたします。",
            still_there="もしもし、お聞きになっていますか。",
            silence_goodbye="お声が聞こえませんので、電話を切らせていただきます。失礼いたします。",
            time_goodbye="申し訳ございません。通話時間の上限になりました。失礼いたします。",
            drain_goodbye="申し訳ございません。ここで通話を終了いたします。少ししてからおかけ直しください。失礼いたします。",
        ),
        CarrierPhrases(
            busy="申し訳ございません。ただいま電話が大変混み合っております。数分後におかけ直しください。失礼いたします。",
            cut_off="申し訳ございません。通話が途切れました。どうぞお続けください。",
            whisper="お話をご希望の方からお電話が入っております。お受けになる場合は、1を押してください。",
        ),
    ),
    "zh": (
        Phrases(
            filler=("请稍等。", "我看一下。"),
            long_filler="我还在处理，感谢您的耐心等待。",
            apology="很抱歉，我现在无法为您找到答复。",
            unavailable="很抱歉，现在没有人能接听您的电话。请稍后再拨。再见。",
            message_taken="谢谢，我已经记下了。",
            message_kept="谢谢，您的留言已经记录下来。再见。",
            callee_unavailable="很抱歉，给您打电话的助手现在无法继续通话。再见。",
            still_there="您还在吗？",
            silence_goodbye="我听不到您的声音，现在先挂断了。再见。",
            time_goodbye="很抱歉，本次通话已达到时间上限。再见。",
            drain_goodbye="很抱歉，我现在必须结束通话。请稍后再打过来。再见。",
        ),
        CarrierPhrases(
            busy="很抱歉，目前所有线路都在忙。请过几分钟再拨。再见。",
            cut_off="很抱歉，刚才通话中断了。请继续说。",
            whisper="有人想与您通话。如要接听，请按1。",
        ),
    ),
    "ko": (
        Phrases(
            filler=("잠시만 기다려 주세요.", "확인해 보겠습니다."),
            long_filler="아직 확인하고 있습니다. 기다려 주셔서 감사합니다.",
            apology="죄송합니다. 지금은 답변을 드릴 수 없습니다.",
            unavailable="죄송합니다. 지금은 전화를 받을 수 있는 사람이 없습니다. "
            "나중에 다시 걸어 주세요. 안녕히 계세요.",
            message_taken="감사합니다. 메시지를 적어 두었습니다.",
            message_kept="감사합니다. 메시지가 기록되었습니다. 안녕히 계세요.",
            callee_unavailable="죄송합니다. 전화를 드린 어시스턴트가 더 이상 연결되지 않습니다. 안녕히 계세요.",
            still_there="듣고 계신가요?",
            silence_goodbye="목소리가 들리지 않아 전화를 끊겠습니다. 안녕히 계세요.",
            time_goodbye="죄송합니다. 통화 시간 한도에 도달했습니다. 안녕히 계세요.",
            drain_goodbye="죄송합니다. 지금 통화를 마쳐야 합니다. 잠시 후 다시 걸어 주세요. 안녕히 계세요.",
        ),
        CarrierPhrases(
            busy="죄송합니다. 지금은 모든 회선이 통화 중입니다. 몇 분 후에 다시 걸어 주세요. 안녕히 계세요.",
            cut_off="죄송합니다. 통화가 끊어졌습니다. 계속 말씀해 주세요.",
            whisper="통화를 원하시는 분이 계십니다. 전화를 받으시려면 1번을 눌러 주세요.",
        ),
    ),
}

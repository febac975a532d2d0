"""Words of broadcast graphics. Some are also names of brands: LIVE is VIVO in Spanish.

Belongs here: the words by language, the names of channels that stand beside them, and whether a text consists of such
words. Where such a word stands in the picture is the subject of `touchline/brands/surroundings.py`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from touchline.brands.text import Folded, fold, is_han
from touchline.brands.words import GENERIC

BY_LANGUAGE: Final = {
    "English": """
        live direct replay slow motion slowmo highlights next previous coming upcoming now later today tonight
        kick kickoff half halftime full fulltime time extra added additional stoppage minutes min mins clock first
        second half 1st 2nd score scores scorer goal goals penalty penalties shootout lineup lineups line ups
        starting eleven xi bench formation substitution substitute substitutions subs sub total totals
        target shot shots attempts attempt chances saves save corners corner fouls foul offside offsides passes pass
        accuracy possession distance covered tackles duels crosses cards card yellow red booked booking var check
        review decision referee assistant attendance stats statistics match matches standings
        fixtures aggregate agg last season rating assist assists
        speed sprint heatmap average touches clearances interceptions dribbles xg expected
    """,
    "Spanish": """
        vivo directo repeticion repetición resumen proximo próximo siguiente previa descanso entretiempo medio tiempo
        primer primero segundo primera segunda parte final finalizado anadido añadido adicional descuento prorroga
        prórroga minuto minutos marcador gol goles penal penales penalti penaltis alineacion alineación titular
        titulares suplentes banquillo cambio cambios sustitucion sustitución tiros tiro remates remate
        disparos puerta arco porteria portería posesion posesión balon balón pelota faltas falta corners esquina
        fuera juego pases tarjeta tarjetas amarilla roja arbitro árbitro revision revisión estadisticas estadísticas
        partido jornada fecha clasificacion clasificación tabla posiciones goleadores totales ahora hoy
    """,
    "Portuguese": """
        vivo direto replay melhores momentos proximo próximo seguinte intervalo tempo primeiro segundo acrescimos
        acréscimos prorrogacao prorrogação minuto minutos placar gol gols golo golos penalti pênalti penaltis pênaltis
        escalacao escalação onze titulares reservas substituicao substituição sai entra chutes chute remates
        finalizacoes finalizações alvo posse bola faltas falta escanteios cantos impedimento impedimentos passes
        cartao cartão cartoes cartões amarelo vermelho arbitro árbitro revisao revisão estatisticas estatísticas jogo
        partida rodada jornada tabela classificacao classificação totais agora hoje
    """,
    "French": """
        direct replay ralenti resume résumé prochain prochaine suivant mi-temps mitemps temps additionnel arret arrêt
        jeu premiere première deuxieme deuxième periode période prolongation prolongations minute minutes buts
        buteur penalty tirs tir cadres cadrés cible possession ballon fautes faute corners hors passes carton cartons
        jaune rouge arbitre composition compositions equipe équipe onze titulaires remplacants remplaçants banc
        remplacement changement statistiques match journee journée classement total totaux
    """,
    "German": """
        live direkt wiederholung zeitlupe hohepunkte höhepunkte nachstes nächstes nachste nächste halbzeit
        anstoss anstoß erste zweite nachspielzeit verlangerung verlängerung minute minuten tor tore torschutze
        torschütze elfmeter elfmeterschiessen aufstellung startelf ersatzbank wechsel auswechslung
        einwechslung schusse schüsse torschusse torschüsse aufs ballbesitz fouls ecken ecke abseits passe pässe
        passquote zweikampfe zweikämpfe laufleistung karte karten gelb rot gelbe rote schiedsrichter
        videobeweis statistik spiel spieltag tabelle gesamt jetzt heute
    """,
    "Italian": """
        diretta dirette replay moviola sintesi prossima prossimo intervallo tempo primo secondo recupero
        supplementari minuto minuti risultato gol marcatori rigore rigori formazione formazioni titolari
        panchina sostituzione cambio esce entra tiri tiro specchio possesso palla falli fallo angolo calci
        angoli fuorigioco passaggi ammonizione ammoniti espulsione espulsi cartellino giallo rosso arbitro statistiche
        partita giornata classifica girone totale totali adesso oggi
    """,
    "Dutch": """
        live rechtstreeks herhaling samenvatting volgende rust eerste tweede helft blessuretijd verlenging minuut
        minuten doelpunt doelpunten strafschop strafschoppen opstelling wissel wissels schoten doel
        balbezit overtredingen hoekschoppen buitenspel gele rode kaart kaarten scheidsrechter statistieken wedstrijd
        stand totaal nu
    """,
    "Turkish": """
        canli canlı yayin yayın tekrar ozet özet siradaki sıradaki devre arasi arası ilk ikinci yari yarı uzatma
        uzatmalar dakika gol goller penalti penaltı kadro kadrolar ilk11 yedekler degisiklik değişiklik sut şut
        sutlar şutlar isabetli kale topla oynama fauller faul korner kornerler ofsayt paslar sari sarı kirmizi kırmızı
        kart hakem istatistik istatistikler hafta puan durumu toplam simdi şimdi
    """,
    "Polish": """
        zywo żywo powtorka powtórka skrot skrót nastepny następny przerwa pierwsza druga polowa połowa doliczony czas
        dogrywka minuta minuty gol gole bramka bramki rzut karny karne sklad skład sklady składy lawka ławka zmiana
        zmiany strzaly strzały celne posiadanie pilki piłki faule rozne rożne spalony spalone podania zolta żółta
        czerwona kartka kartki sedzia sędzia statystyki mecz kolejka tabela razem teraz
    """,
    "Arabic in Latin letters": "mubashir mubasher mobasher mobashar moubachir eada iada shawt chawt hadaf ahdaf",
    "Chinese": """
        直播 现场直播 現場直播 回放 重播 慢动作 集锦 下一场 中场休息 中場 半场 上半场 下半场 全场 加时 补时 伤停补时
        比分 进球 射门 射正 控球率 角球 犯规 越位 换人 首发 替补 黄牌 红牌 点球 裁判 数据 统计 积分榜
    """,
    "Japanese": """
        生中継 中継 ライブ リプレイ ハイライト ハーフタイム 前半 後半 延長 追加時間 アディショナルタイム 得点 シュート
        枠内 ボール 支配率 保持率 コーナーキック ファウル オフサイド 交代 先発 スタメン 控え 警告 退場 主審 順位表
    """,
}
"""Words of football broadcasts by language: live, replay, half time, line-ups, next, statistics, cards, added time."""

LEADS: Final = frozenset({"en", "ao", "in", "im", "al", "na"})
"""Function words that form a phrase with LIVE: en vivo, ao vivo, in diretta, en direct, na żywo."""

_CHANNELS: Final = """
    abc alkass antena antv ard astro atv axn azteca band bandsports bbc bein beinsports caliente canal
    canale5 canal5 canalplus caracol cazetv cbs cctv channel chilevision cnn cosmote cuatro cytavision dazn deportes
    deportv digi directv dsports elevensports espn espn2 espn3 espn4 espnplus esports esporte esportes eurosport
    fox foxsports fox1 fs1 fs2 futv galavision globo gol goltv golperu hbo italia1 itv la7 l1max laliga
    latv mediapro mediaset megogo movistar movistarplus mtv nbc nbcsn nhk nova npo orf paramount
    peacock polsat premiere premieresports primevideo prosieben pptv qsports rai raisport rai1 rai2 rcn
    redbulltv rmc rmcsport rtl rtlnitro rtp rtve sat1 sbs sbt servustv setanta sic skysport skysports sky sonysix
    sport sport1 sport2 sporttv sports sportsnet sportschau sportv sportdigital srf ssc starsports startimes
    starplus supersport tdp tele5 telecinco telefe telefoot telemundo telesur televisa tf1 tigosports tnt tntsports
    tring trt trtspor tsn ttv tudn tvazteca tve tvi tvn tvp tvpsport tyc tycsports unimas univision vamos viaplay
    viasat vix vtv vtv6 winsports wowow ziggo zdf zee
"""
CHANNELS: Final = frozenset(_CHANNELS.split())
"""Names of channels, and parts of such names, as they stand beside LIVE in a channel logo."""
_CHANNEL_ENDS: Final = ("tv", "hd")
"""Endings of channel names."""
_SHORT: Final = 3
"""A word of up to this many letters is not a channel because of its ending [letters]."""

_FILLERS: Final = "a al am aan auf de del della des di do du el for in la las le les na of on op the to up w"
FILLERS: Final = frozenset(_FILLERS.split())
"""Function words between words of graphics, which are ignored: shots on target, tiros a puerta."""
_FOLDED: Final = [fold(word) for words in BY_LANGUAGE.values() for word in words.split()]
HAN_PHRASES: Final = frozenset(folded.letters for folded in _FOLDED if is_han(folded.letters[0]))
"""The phrases of `BY_LANGUAGE` in Han characters, folded. They have no spaces between words."""
WORDS: Final = frozenset(word for f in _FOLDED if f.letters not in HAN_PHRASES for word in (f.letters, *f.words()))
"""All words of `BY_LANGUAGE`, folded, except those in Han characters."""
_OF_SPORT: Final = "calcio football futbol futebol media soccer sport sporting sports esportes deportes"
_OF_SPONSORS: Final = """
    by com official partner partners phone phones powered presented presenta presentado presenter presente oferece
    oferecido patrocina patrocinador patrocinio offert prasentiert sponsor sponsored sponsors smartphone smartphones
    smartfon smartfony telefon telefone telefono www
"""
PLATES: Final = frozenset(_OF_SPONSORS.split()) | (GENERIC - set(_OF_SPORT.split()) - CHANNELS)
"""Words of sponsors' captions: presented by, and kinds of business."""
_PRODUCT: Final = re.compile(r"[a-z]{1,2}\d{2,3}[a-z]?")
"""A product number such as V15 or X100. Halves and clocks (2T, 1H, 45) do not match."""


def is_graphic(spelling: str) -> bool:
    """Whether every word of a brand's spelling is a word of broadcast graphics.

    >>> is_graphic("vivo"), is_graphic("Live!"), is_graphic("vivo mobile"), is_graphic("TotalEnergies")
    (True, True, False, False)
    """
    folded = fold(spelling)
    if folded.letters in HAN_PHRASES:
        return True
    words = folded.words()
    return bool(folded.letters) and all(word in WORDS for word in words)


def in_a_phrase(text: Folded, start: int, end: int) -> bool:
    """Whether the letters [start, end) are part of a phrase of broadcast graphics.

    The phrase has another word of graphics, a channel's name or a word of LEADS: ESPN VIVO, EN VIVO, NEXT MATCH, SHOTS
    ON TARGET. Repetitions of the same word are not a phrase.
    """
    word = text.letters[start:end]
    rest = f"{text.letters[:start]} {text.letters[end:]}"
    if any(phrase != word and phrase in rest for phrase in HAN_PHRASES):
        return True
    for a, b in pairwise(text.hard):
        other = text.letters[a:b]
        if (b <= start or a >= end) and other != word and (other in WORDS or is_channel(other)):
            return True
        if b == start and other in LEADS:
            return True
    return False


def belongs_to_graphics(text: str) -> bool:
    """Whether a text consists of words of graphics and channel names alone: ESPN, EN, FOX SPORTS, 2ND HALF."""
    folded = fold(text)
    words = [word for word in folded.words() if word and not word.isdigit()]
    telling = [word for word in words if word not in FILLERS]
    if not telling:
        return bool(words) and all(word in LEADS for word in words)
    return folded.letters in HAN_PHRASES or all(w in WORDS or w in LEADS or is_channel(w) for w in telling)


def says_more(text: str, word: str) -> bool:
    """Whether a text holds, besides a word of graphics, words of a sponsor's caption: a business or a product.

    >>> says_more("vivo smartphones", "vivo"), says_more("vivo V15", "vivo"), says_more("VIVO HD 45", "vivo")
    (True, True, False)
    """
    own = fold(word).letters
    others = [other for other in fold(text).words() if own not in other and not is_channel(other)]
    return any(other in PLATES or _PRODUCT.fullmatch(other) for other in others)


def is_channel(word: str) -> bool:
    """Whether a folded word is the name of a channel, or ends like one (GOLTV, FOXHD)."""
    return word in CHANNELS or (len(word) > _SHORT and word.endswith(_CHANNEL_ENDS))

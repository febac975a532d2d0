"""Words that do not distinguish one brand from another.

Belongs here: three short lists that the matcher uses. Brands are in `sponsors.csv`.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GENERIC: Final = _words("""
    aeree airline airlines airways assicurazioni banca banco bank banque beer bet bets betting bier birra calcio
    capital card cards casino casinos cerveja cerveza coin credit crypto deportes digital drink drinks electric
    electronics energia energie energy esporte esportes exchange express finance food foods football futbol
    futebol games gaming group grupo gruppe gruppo holding hotel hotels insurance linee markets media mobile
    motor motors online poker reifen resort resorts shop soccer software solutions sport sporting sports store
    systems tech technology telecom telekom tires token tours trade trading travel tyre tyres versicherung
    versicherungen water
""")
"""Generic words for kinds of business. The rest of a spelling distinguishes the brand from others."""

ORDINARY: Final = _words("""
    academy america american arena attack away barcelona book booking brasil carnival castro center central
    champion champions city club continent continentale continente copa corner cup defence deliver delivered
    delivers deutschland electron espana europa europe express family fans federation final finals france game
    general generale generally goal hotel inter intercontinental international italia italian kicks league
    legend liga madrid martin martinez master match member members merch michel milano million minute moment
    monster museum music nation national nations network newcastle official offside partner partners people
    player players power premier premium present record sales santa scarf season sense serie service shirt shop
    sponsor stadio stadium standard stoke store strong super supporter supporters team tenants thank thanks
    ticket tickets today together tomorrow total training tribune turkish ultras united victory video videos
    watch welcome winner winners women world young
""")
"""Ordinary words of stadiums, clubs and everyday language, which are never a misread or a cut-off brand."""

ADDRESS: Final = _words("""
    app ar at be br ch co com de es eu fr http https io it net nl org pt tr tv uk www
""")
"""Parts of web addresses, which do not count for or against a match."""

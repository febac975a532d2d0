"""Words that do not tell one brand from another.

Belongs here: three short lists that the matcher asks. Brands are in `sponsors.csv`.
"""

from __future__ import annotations

from typing import Final

GENERIC: Final = frozenset(
    "football futbol futebol calcio soccer sport sports sporting deportes esporte esportes casino casinos poker bet bets "
    "betting bank banco banca banque airways airlines airline linee aeree energy energia energie insurance assicurazioni "
    "versicherung versicherungen group gruppe gruppo grupo holding motors motor telecom telekom mobile media online "
    "finance capital credit card cards beer bier birra cerveza cerveja water drink drinks food foods hotel hotels "
    "resort resorts tours travel tyres tires tyre reifen express electric electronics tech technology solutions "
    "systems software digital trade trading markets exchange crypto coin token games gaming store shop".split()
)
"""Kinds of business: what remains of a spelling without them is what tells the brand from its neighbours."""

ORDINARY: Final = frozenset(
    "academy america american arena attack away barcelona book booking brasil carnival castro center central champion "
    "champions city club continent continente continentale copa corner cup defence deutschland espana europa europe "
    "express family fans federation final finals france game general goal hotel inter intercontinental international "
    "italia italian kicks league legend liga madrid martin martinez master match member members merch michel milano "
    "million minute moment monster museum music national nation nations newcastle official offside partner partners "
    "people player players power premier premium present record sales santa scarf season sense serie service shirt "
    "shop sponsor stadium stadio standard stoke store strong super supporter supporters team thank thanks ticket "
    "tickets today together tomorrow total training tribune turkish ultras united victory video videos watch welcome "
    "winner winners women world young".split()
)
"""Words of stadiums, clubs and everyday talk: never taken for a misread or a cut-off brand, only for themselves."""

ADDRESS: Final = frozenset("www http https com net org co uk de es it fr nl pt br ar tr tv eu io app be ch at".split())
"""Parts of web addresses, which neither explain nor contradict a reading."""

"""Dialling: the gate in front of every number, and the calls, voice messages and transfers that pass it.

    tool, command ──number, kind, zone──▶ DiallingGate ──facts, in one transaction──▶ decide ──▶ Verdict
                                               └──when it may be dialled: counted before the transaction ends

`numbers` reads a number and tells what it is, `calling_hours` when its callee may be called, `gate` decides; these are
pure. `dial_check` fetches the facts and counts. `opt_out` hears "stop calling me".
It is a tool for whoever answers for the calls, not legal advice.
"""

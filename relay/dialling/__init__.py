"""Dialling: the gate in front of every number, and the calls, voice messages and transfers that pass it.

    tool, command ──number, kind, zone──▶ DiallingGate ──facts, in one transaction──▶ decide ──▶ Verdict
                                               └──when it may be dialled: counted before the transaction ends

`numbers` parses a number, `calling_hours` knows when its callee may be called, `gate` decides; these are pure.
`dial_check` fetches the facts and counts. `opt_out` detects "stop calling me". This is a tool for the operator who is
responsible for the calls, not legal advice.
"""

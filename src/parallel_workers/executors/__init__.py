"""The places where attempts execute, one file each.

An executor is given a driver and the bodies of all tasks. It asks the driver what to attempt
(`Driver.step`), calls the body, notes how the attempt ended (`Driver.note`) and gives it back with
the next step. It decides nothing about which task is next.
"""

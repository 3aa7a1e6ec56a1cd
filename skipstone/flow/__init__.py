"""The library's flow: prepare a network, evaluate, verify, export and trace it. No command line here."""

module goheapd.example/life_ledger

go 1.19

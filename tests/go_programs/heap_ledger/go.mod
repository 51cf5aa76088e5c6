module goheapd.example/heap_ledger

go 1.19

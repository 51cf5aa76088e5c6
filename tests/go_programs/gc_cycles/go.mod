module goheapd.test/gc_cycles

go 1.19

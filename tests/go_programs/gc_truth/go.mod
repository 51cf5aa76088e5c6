module goheapd.test/gc_truth

go 1.19

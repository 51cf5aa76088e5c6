module goheapd.example/layout_extractor

go 1.19

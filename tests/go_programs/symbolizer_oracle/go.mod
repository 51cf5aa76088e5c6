module symbolizer_oracle

go 1.19

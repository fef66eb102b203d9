# Writes wgmma_shapes.cuh:  awk -f wgmma_shapes.awk > wgmma_shapes.cuh
#
# A wgmma names its accumulators one by one, up to 128 of them, and an asm statement numbers the
# other operands behind them. That is text without a thought in it, different for every width. The
# lists grow by four registers a line; a line for each width holds the numbers.
BEGIN {
    print "/*"
    print " * wgmma_shapes.cuh -- lists of registers for wgmma; written by wgmma_shapes.awk, used by wgmma.cuh."
    print " */"
    print "#ifndef EVO_WGMMA_SHAPES_CUH"
    print "#define EVO_WGMMA_SHAPES_CUH"
    list("NUMBERS", "", "%%%d", ", ", "\"", 128)
    list("FLOATS", "(d)", "\"+f\"(d[%d])", ", ", "", 128)
    list("WORDS", "(d)", "\"+r\"(d[%d])", ", ", "", 64)
    print ""
    print "/* Width, FP32 accumulators and the seven operands behind them, the same for FP16. */"
    printf "#define WGMMA_SHAPES(each)"
    for (width = 16; width <= 256; width += 16)
        printf " \\\n    each(%d, %s, %s)", width, operands(width / 2), operands(width / 4)
    print "\n\n#endif"
}

# WGMMA_name_n: n registers, as n - 4 and four more.
function list(name, parameter, format, between, quote, most,    n, i, line) {
    print ""
    for (n = 4; n <= most; n += 4) {
        line = quote
        for (i = n - 4; i < n; i++)
            line = line (i > n - 4 ? between : quote != "" && n > 4 ? between : "") sprintf(format, i)
        line = line quote
        if (n > 4)
            line = sprintf("WGMMA_%s_%d%s%s", name, n - 4, parameter, quote != "" ? " " : between) line
        printf "#define WGMMA_%s_%d%s %s\n", name, n, parameter, line
    }
}

function operands(count,    text, i) {
    text = count
    for (i = 0; i < 7; i++)
        text = text ", " (count + i)
    return text
}

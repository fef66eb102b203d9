/*
 * wgmma_shapes.cuh -- lists of registers for wgmma; written by wgmma_shapes.awk, used by wgmma.cuh.
 */
#ifndef EVO_WGMMA_SHAPES_CUH
#define EVO_WGMMA_SHAPES_CUH

#define WGMMA_NUMBERS_4 "%0, %1, %2, %3"
#define WGMMA_NUMBERS_8 WGMMA_NUMBERS_4 ", %4, %5, %6, %7"
#define WGMMA_NUMBERS_12 WGMMA_NUMBERS_8 ", %8, %9, %10, %11"
#define WGMMA_NUMBERS_16 WGMMA_NUMBERS_12 ", %12, %13, %14, %15"
#define WGMMA_NUMBERS_20 WGMMA_NUMBERS_16 ", %16, %17, %18, %19"
#define WGMMA_NUMBERS_24 WGMMA_NUMBERS_20 ", %20, %21, %22, %23"
#define WGMMA_NUMBERS_28 WGMMA_NUMBERS_24 ", %24, %25, %26, %27"
#define WGMMA_NUMBERS_32 WGMMA_NUMBERS_28 ", %28, %29, %30, %31"
#define WGMMA_NUMBERS_36 WGMMA_NUMBERS_32 ", %32, %33, %34, %35"
#define WGMMA_NUMBERS_40 WGMMA_NUMBERS_36 ", %36, %37, %38, %39"
#define WGMMA_NUMBERS_44 WGMMA_NUMBERS_40 ", %40, %41, %42, %43"
#define WGMMA_NUMBERS_48 WGMMA_NUMBERS_44 ", %44, %45, %46, %47"
#define WGMMA_NUMBERS_52 WGMMA_NUMBERS_48 ", %48, %49, %50, %51"
#define WGMMA_NUMBERS_56 WGMMA_NUMBERS_52 ", %52, %53, %54, %55"
#define WGMMA_NUMBERS_60 WGMMA_NUMBERS_56 ", %56, %57, %58, %59"
#define WGMMA_NUMBERS_64 WGMMA_NUMBERS_60 ", %60, %61, %62, %63"
#define WGMMA_NUMBERS_68 WGMMA_NUMBERS_64 ", %64, %65, %66, %67"
#define WGMMA_NUMBERS_72 WGMMA_NUMBERS_68 ", %68, %69, %70, %71"
#define WGMMA_NUMBERS_76 WGMMA_NUMBERS_72 ", %72, %73, %74, %75"
#define WGMMA_NUMBERS_80 WGMMA_NUMBERS_76 ", %76, %77, %78, %79"
#define WGMMA_NUMBERS_84 WGMMA_NUMBERS_80 ", %80, %81, %82, %83"
#define WGMMA_NUMBERS_88 WGMMA_NUMBERS_84 ", %84, %85, %86, %87"
#define WGMMA_NUMBERS_92 WGMMA_NUMBERS_88 ", %88, %89, %90, %91"
#define WGMMA_NUMBERS_96 WGMMA_NUMBERS_92 ", %92, %93, %94, %95"
#define WGMMA_NUMBERS_100 WGMMA_NUMBERS_96 ", %96, %97, %98, %99"
#define WGMMA_NUMBERS_104 WGMMA_NUMBERS_100 ", %100, %101, %102, %103"
#define WGMMA_NUMBERS_108 WGMMA_NUMBERS_104 ", %104, %105, %106, %107"
#define WGMMA_NUMBERS_112 WGMMA_NUMBERS_108 ", %108, %109, %110, %111"
#define WGMMA_NUMBERS_116 WGMMA_NUMBERS_112 ", %112, %113, %114, %115"
#define WGMMA_NUMBERS_120 WGMMA_NUMBERS_116 ", %116, %117, %118, %119"
#define WGMMA_NUMBERS_124 WGMMA_NUMBERS_120 ", %120, %121, %122, %123"
#define WGMMA_NUMBERS_128 WGMMA_NUMBERS_124 ", %124, %125, %126, %127"

#define WGMMA_FLOATS_4(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define WGMMA_FLOATS_8(d) WGMMA_FLOATS_4(d), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define WGMMA_FLOATS_12(d) WGMMA_FLOATS_8(d), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11])
#define WGMMA_FLOATS_16(d) WGMMA_FLOATS_12(d), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define WGMMA_FLOATS_20(d) WGMMA_FLOATS_16(d), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19])
#define WGMMA_FLOATS_24(d) WGMMA_FLOATS_20(d), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define WGMMA_FLOATS_28(d) WGMMA_FLOATS_24(d), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27])
#define WGMMA_FLOATS_32(d) WGMMA_FLOATS_28(d), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define WGMMA_FLOATS_36(d) WGMMA_FLOATS_32(d), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])
#define WGMMA_FLOATS_40(d) WGMMA_FLOATS_36(d), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
#define WGMMA_FLOATS_44(d) WGMMA_FLOATS_40(d), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43])
#define WGMMA_FLOATS_48(d) WGMMA_FLOATS_44(d), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define WGMMA_FLOATS_52(d) WGMMA_FLOATS_48(d), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51])
#define WGMMA_FLOATS_56(d) WGMMA_FLOATS_52(d), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
#define WGMMA_FLOATS_60(d) WGMMA_FLOATS_56(d), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59])
#define WGMMA_FLOATS_64(d) WGMMA_FLOATS_60(d), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define WGMMA_FLOATS_68(d) WGMMA_FLOATS_64(d), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67])
#define WGMMA_FLOATS_72(d) WGMMA_FLOATS_68(d), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
#define WGMMA_FLOATS_76(d) WGMMA_FLOATS_72(d), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75])
#define WGMMA_FLOATS_80(d) WGMMA_FLOATS_76(d), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define WGMMA_FLOATS_84(d) WGMMA_FLOATS_80(d), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83])
#define WGMMA_FLOATS_88(d) WGMMA_FLOATS_84(d), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87])
#define WGMMA_FLOATS_92(d) WGMMA_FLOATS_88(d), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91])
#define WGMMA_FLOATS_96(d) WGMMA_FLOATS_92(d), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define WGMMA_FLOATS_100(d) WGMMA_FLOATS_96(d), "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99])
#define WGMMA_FLOATS_104(d) WGMMA_FLOATS_100(d), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103])
#define WGMMA_FLOATS_108(d) WGMMA_FLOATS_104(d), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107])
#define WGMMA_FLOATS_112(d) WGMMA_FLOATS_108(d), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define WGMMA_FLOATS_116(d) WGMMA_FLOATS_112(d), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115])
#define WGMMA_FLOATS_120(d) WGMMA_FLOATS_116(d), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119])
#define WGMMA_FLOATS_124(d) WGMMA_FLOATS_120(d), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123])
#define WGMMA_FLOATS_128(d) WGMMA_FLOATS_124(d), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

#define WGMMA_WORDS_4(d) "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
#define WGMMA_WORDS_8(d) WGMMA_WORDS_4(d), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7])
#define WGMMA_WORDS_12(d) WGMMA_WORDS_8(d), "+r"(d[8]), "+r"(d[9]), "+r"(d[10]), "+r"(d[11])
#define WGMMA_WORDS_16(d) WGMMA_WORDS_12(d), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15])
#define WGMMA_WORDS_20(d) WGMMA_WORDS_16(d), "+r"(d[16]), "+r"(d[17]), "+r"(d[18]), "+r"(d[19])
#define WGMMA_WORDS_24(d) WGMMA_WORDS_20(d), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23])
#define WGMMA_WORDS_28(d) WGMMA_WORDS_24(d), "+r"(d[24]), "+r"(d[25]), "+r"(d[26]), "+r"(d[27])
#define WGMMA_WORDS_32(d) WGMMA_WORDS_28(d), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31])
#define WGMMA_WORDS_36(d) WGMMA_WORDS_32(d), "+r"(d[32]), "+r"(d[33]), "+r"(d[34]), "+r"(d[35])
#define WGMMA_WORDS_40(d) WGMMA_WORDS_36(d), "+r"(d[36]), "+r"(d[37]), "+r"(d[38]), "+r"(d[39])
#define WGMMA_WORDS_44(d) WGMMA_WORDS_40(d), "+r"(d[40]), "+r"(d[41]), "+r"(d[42]), "+r"(d[43])
#define WGMMA_WORDS_48(d) WGMMA_WORDS_44(d), "+r"(d[44]), "+r"(d[45]), "+r"(d[46]), "+r"(d[47])
#define WGMMA_WORDS_52(d) WGMMA_WORDS_48(d), "+r"(d[48]), "+r"(d[49]), "+r"(d[50]), "+r"(d[51])
#define WGMMA_WORDS_56(d) WGMMA_WORDS_52(d), "+r"(d[52]), "+r"(d[53]), "+r"(d[54]), "+r"(d[55])
#define WGMMA_WORDS_60(d) WGMMA_WORDS_56(d), "+r"(d[56]), "+r"(d[57]), "+r"(d[58]), "+r"(d[59])
#define WGMMA_WORDS_64(d) WGMMA_WORDS_60(d), "+r"(d[60]), "+r"(d[61]), "+r"(d[62]), "+r"(d[63])

/* Width, FP32 accumulators and the seven operands behind them, the same for FP16. */
#define WGMMA_SHAPES(each) \
    each(16, 8, 8, 9, 10, 11, 12, 13, 14, 4, 4, 5, 6, 7, 8, 9, 10) \
    each(32, 16, 16, 17, 18, 19, 20, 21, 22, 8, 8, 9, 10, 11, 12, 13, 14) \
    each(48, 24, 24, 25, 26, 27, 28, 29, 30, 12, 12, 13, 14, 15, 16, 17, 18) \
    each(64, 32, 32, 33, 34, 35, 36, 37, 38, 16, 16, 17, 18, 19, 20, 21, 22) \
    each(80, 40, 40, 41, 42, 43, 44, 45, 46, 20, 20, 21, 22, 23, 24, 25, 26) \
    each(96, 48, 48, 49, 50, 51, 52, 53, 54, 24, 24, 25, 26, 27, 28, 29, 30) \
    each(112, 56, 56, 57, 58, 59, 60, 61, 62, 28, 28, 29, 30, 31, 32, 33, 34) \
    each(128, 64, 64, 65, 66, 67, 68, 69, 70, 32, 32, 33, 34, 35, 36, 37, 38) \
    each(144, 72, 72, 73, 74, 75, 76, 77, 78, 36, 36, 37, 38, 39, 40, 41, 42) \
    each(160, 80, 80, 81, 82, 83, 84, 85, 86, 40, 40, 41, 42, 43, 44, 45, 46) \
    each(176, 88, 88, 89, 90, 91, 92, 93, 94, 44, 44, 45, 46, 47, 48, 49, 50) \
    each(192, 96, 96, 97, 98, 99, 100, 101, 102, 48, 48, 49, 50, 51, 52, 53, 54) \
    each(208, 104, 104, 105, 106, 107, 108, 109, 110, 52, 52, 53, 54, 55, 56, 57, 58) \
    each(224, 112, 112, 113, 114, 115, 116, 117, 118, 56, 56, 57, 58, 59, 60, 61, 62) \
    each(240, 120, 120, 121, 122, 123, 124, 125, 126, 60, 60, 61, 62, 63, 64, 65, 66) \
    each(256, 128, 128, 129, 130, 131, 132, 133, 134, 64, 64, 65, 66, 67, 68, 69, 70)

#endif

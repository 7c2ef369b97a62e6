// installed.cpp -- a user's program in C++: draws from a flow.
#include <cstdio>
#include <pullback/flows.h>
#include <pullback/optim.h>
#include <vector>

int main() {
    ad_error error = {};
    flow_model *model = flow_from_text("realnvp:layers=2,hidden=8x1", 2, 0, &error);
    if (!model) return std::fprintf(stderr, "%s\n", error.message), 1;
    std::vector<double> x(2000);
    optim_drawing how = {};
    how.n = 1000;
    how.x = x.data();
    ad_status status = optim_draws(model, nullptr, &how, &error);
    char shape[96];
    std::printf("%s, %lld draws\n", ad_shape_print(flow_model_shape(model), shape, sizeof shape), 1000LL);
    flow_model_free(model);
    return status == AD_OK ? 0 : 1;
}

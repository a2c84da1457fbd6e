/*
 * A whole proxy in this process, in C++.
 *
 *     c++ -std=c++17 proxy.cpp $(pkg-config --cflags --libs weir) -o proxy && ./proxy envoy.yaml
 *
 * It asks itself for a page without a socket, serves until the end of its input, then drains.
 */
#include "weir.hpp"

#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>

int main(int argc, char **argv) try {
    if (argc != 2) {
        std::cerr << "usage: " << argv[0] << " envoy.yaml\n";
        return 2;
    }
    std::ifstream file(argv[1]);
    std::string config((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());

    auto options = WEIR_INIT(weir_proxy_options);
    options.workers = 2;
    weir::proxy proxy(config, argv[1], options, [](weir_level, std::string_view line) { std::cerr << line << '\n'; });
    std::cout << "listening on port " << proxy.listener().port << std::endl;

    weir::request request;
    request.path = "/hello";
    weir::response answer = proxy.call(request).response();
    std::cout << request.path << " answers " << answer.status << ", " << answer.body.size() << " bytes\n" << proxy.explain(request);

    std::cin.ignore(std::numeric_limits<std::streamsize>::max());
    proxy.drain();
    std::cout << "drained, " << proxy.wait() << " cut\n";
} catch (const weir::config_error &error) {
    for (const auto &found : error.diagnostics) std::cerr << found.file << ':' << found.line << ':' << found.column << ": " << found.message << ' ' << found.help << '\n';
    return 1;
} catch (const weir::error &error) {
    std::cerr << weir_result_name(error.result) << ": " << error.what() << '\n';
    return 1;
}

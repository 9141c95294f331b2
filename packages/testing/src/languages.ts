/** About the same text in several languages, and the old encodings in which people wrote them. */
export const languages: Record<string, { encodings: string[]; text: string }> = {
  German: {
    encodings: ['windows-1252', 'cp850'],
    text: `Der Hafenmeister schreibt täglich auf, wann das Wasser steigt und fällt. Während der Stürme im Frühjahr müssen größere Schiffe außerhalb der Mole warten, bis die Böen nachlassen. Für Gäste gibt es gegenüber dem Büro einen überdachten Platz. Die Gebühren hängen von der Länge ab: über zwölf Meter kostet die Nacht fünfzig Euro. Später können Sie natürlich verlängern. Schließen Sie Türen und Fenster, wenn es schüttet, und hören Sie täglich den Wetterbericht. Störungen meldet man dem Wächter am Südtor. Müll gehört in die grünen Behälter, Öl in die schwarzen Fässer. Früher lösten Fischer hier ihre Körbe und verkauften frühmorgens Krabben, Schollen und geräucherten Aal an die Köche der Gasthöfe.`,
  },
  French: {
    encodings: ['windows-1252', 'cp850'],
    text: `Le maître du port note chaque jour l’heure à laquelle la mer monte et descend. Pendant les tempêtes du printemps, les bateaux les plus grands doivent rester à l’extérieur de la jetée jusqu’à ce que le vent faiblisse. Les visiteurs trouvent un abri près du bureau, à côté de la fontaine. Le prix dépend de la longueur : au-delà de douze mètres, la nuit coûte cinquante euros. Vous pouvez évidemment prolonger votre séjour plus tard. Fermez les fenêtres quand il pleut et écoutez régulièrement la météo. Les dégâts sont signalés au gardien, près de la porte située derrière l’église. Autrefois, les pêcheurs y déchargeaient leurs paniers et vendaient très tôt des crevettes, des soles et des anguilles fumées aux hôteliers.`.replaceAll(
      '’',
      "'",
    ),
  },
  Spanish: {
    encodings: ['windows-1252', 'cp850'],
    text: `El capitán del puerto anota cada día a qué hora sube y baja el agua. Durante las tormentas de otoño los barcos más grandes esperan detrás del muelle hasta que el viento amaina. Los huéspedes encontrarán un rincón cubierto junto a la oficina. ¿Cuánto cuesta la noche? Según la eslora: más de doce metros, cincuenta euros. Después podrá prolongar su estancia. También pedimos que cierre las ventanas y que escuche el pronóstico mañana y tarde. Los daños se comunican al vigilante en la entrada, aquí mismo. Antaño los pescadores descargaban allí sus cestas y vendían al amanecer camarones, lenguados y anguilas ahumadas a los cocineros de la región. El próximo año habrá más información en español.`,
  },
  Swedish: {
    encodings: ['windows-1252'],
    text: `Hamnkaptenen skriver varje dag upp när vattnet stiger och sjunker. Under vårens stormar måste större fartyg vänta utanför piren tills byarna avtar. För gäster finns en täckt plats mittemot kontoret. Avgiften beror på längden: över tolv meter kostar natten femtio euro. Senare kan ni förlänga. Stäng dörrar och fönster när det öser ner och hör på väderrapporten. Skador anmäls till väktaren vid södra porten. Förr lossade fiskare sina korgar här och sålde tidigt på morgonen räkor, rödspätta och rökt ål till värdshusens kockar. Nästa år får vi också en ny båtplats för små segelbåtar, längst in i viken där isen smälter först.`,
  },
  Czech: {
    encodings: ['windows-1250', 'iso-8859-2'],
    text: `Přístavní správce každý den zapisuje, kdy voda stoupá a kdy klesá. Při jarních bouřích musejí větší lodě čekat za vlnolamem, dokud vítr nezeslábne. Pro hosty je naproti kanceláři zastřešené místo. Poplatek závisí na délce: nad dvanáct metrů stojí noc padesát eur. Později můžete samozřejmě pobyt prodloužit. Zavírejte dveře i okna, když prší, a poslouchejte předpověď počasí. Škody hlaste hlídači u jižní brány. Kdysi tu rybáři vykládali své koše a časně ráno prodávali kuchařům krevety, platýse a uzené úhoře. Příští rok přibude nové molo pro malé plachetnice, úplně vzadu v zátoce, kde led taje nejdříve.`,
  },
  Polish: {
    encodings: ['windows-1250', 'iso-8859-2'],
    text: `Kapitan portu codziennie zapisuje, kiedy woda się podnosi, a kiedy opada. Podczas wiosennych sztormów większe statki muszą czekać za falochronem, aż wiatr osłabnie. Dla gości jest zadaszone miejsce naprzeciwko biura. Opłata zależy od długości: powyżej dwunastu metrów noc kosztuje pięćdziesiąt euro. Później można oczywiście przedłużyć pobyt. Proszę zamykać drzwi i okna, gdy pada deszcz, i słuchać prognozy pogody. Szkody zgłasza się strażnikowi przy południowej bramie. Dawniej rybacy wyładowywali tu kosze i wcześnie rano sprzedawali kucharzom krewetki, flądry i wędzone węgorze. W przyszłym roku przybędzie nowa przystań dla żaglówek, w głębi zatoki, gdzie lód topnieje najwcześniej.`,
  },
  Hungarian: {
    encodings: ['windows-1250', 'iso-8859-2'],
    text: `A kikötőmester minden nap feljegyzi, mikor emelkedik és mikor süllyed a víz. A tavaszi viharok idején a nagyobb hajóknak a mólón kívül kell várniuk, amíg a szél gyengül. A vendégeknek fedett hely áll rendelkezésre az irodával szemben. A díj a hosszúságtól függ: tizenkét méter fölött egy éjszaka ötven euróba kerül. Később természetesen meghosszabbíthatja. Kérjük, csukja be az ajtókat és ablakokat, ha esik, és hallgassa az időjárás-jelentést. A károkat a déli kapu őrének kell bejelenteni. Régen a halászok itt rakták ki kosaraikat, és kora reggel garnélát, lepényhalat és füstölt angolnát árultak a fogadók szakácsainak.`,
  },
  Russian: {
    encodings: ['windows-1251', 'koi8-r', 'cp866'],
    text: `Капитан порта каждый день записывает, когда вода поднимается и когда опускается. Во время весенних штормов большие суда должны ждать за молом, пока ветер не ослабеет. Для гостей напротив конторы есть крытая площадка. Плата зависит от длины: свыше двенадцати метров ночь стоит пятьдесят евро. Позже вы можете продлить стоянку. Закрывайте двери и окна, когда идёт дождь, и слушайте прогноз погоды. О повреждениях сообщают сторожу у южных ворот. Раньше рыбаки выгружали здесь свои корзины и рано утром продавали поварам креветок, камбалу и копчёного угря.`,
  },
  Greek: {
    encodings: ['windows-1253'],
    text: `Ο λιμενάρχης σημειώνει κάθε μέρα πότε ανεβαίνει και πότε κατεβαίνει το νερό. Στις ανοιξιάτικες καταιγίδες τα μεγάλα πλοία περιμένουν έξω από τον μόλο μέχρι να πέσει ο άνεμος. Για τους επισκέπτες υπάρχει στεγασμένος χώρος απέναντι από το γραφείο. Η τιμή εξαρτάται από το μήκος: πάνω από δώδεκα μέτρα η νύχτα κοστίζει πενήντα ευρώ. Αργότερα μπορείτε να παρατείνετε τη διαμονή. Κλείνετε πόρτες και παράθυρα όταν βρέχει και ακούτε το δελτίο καιρού.`,
  },
  Turkish: {
    encodings: ['windows-1254'],
    text: `Liman başkanı her gün suyun ne zaman yükseldiğini ve ne zaman alçaldığını yazar. İlkbahar fırtınalarında büyük gemiler rüzgâr dinene kadar mendireğin dışında bekler. Konuklar için büronun karşısında üstü kapalı bir yer vardır. Ücret uzunluğa bağlıdır: on iki metrenin üzerinde gecesi elli avrodur. Daha sonra kalışınızı uzatabilirsiniz. Yağmur yağdığında kapıları ve pencereleri kapatın, hava durumunu dinleyin. Hasarlar güney kapısındaki bekçiye bildirilir. Eskiden balıkçılar sepetlerini burada boşaltır, sabahın köründe aşçılara karides, pisi balığı ve tütsülenmiş yılan balığı satardı.`,
  },
  Hebrew: {
    encodings: ['windows-1255'],
    text: `מנהל הנמל רושם בכל יום מתי המים עולים ומתי הם יורדים. בסערות האביב ספינות גדולות צריכות לחכות מחוץ לשובר הגלים עד שהרוח נחלשת. לאורחים יש מקום מקורה מול המשרד. המחיר תלוי באורך: מעל שנים עשר מטר עולה הלילה חמישים אירו. אחר כך אפשר כמובן להאריך את השהות. סגרו דלתות וחלונות כשיורד גשם והקשיבו לתחזית מזג האוויר. על נזקים מודיעים לשומר בשער הדרומי.`,
  },
  'simplified Chinese': {
    encodings: ['gbk', 'gb18030'],
    text: `港务长每天记录潮水什么时候上涨，什么时候退去。春天有风暴的时候，大船必须在防波堤外等待，直到风势减弱。办公室对面为客人准备了有屋顶的地方。费用取决于船的长度：超过十二米，每晚五十欧元。以后当然可以延长停留时间。下雨时请关好门窗，并收听天气预报。如有损坏，请告诉南门的看守人。从前渔民在这里卸下鱼筐，清晨把虾、比目鱼和熏鳗鱼卖给旅店的厨师。`,
  },
  'traditional Chinese': {
    encodings: ['big5'],
    text: `港務長每天記錄潮水什麼時候上漲，什麼時候退去。春天有風暴的時候，大船必須在防波堤外等待，直到風勢減弱。辦公室對面為客人準備了有屋頂的地方。費用取決於船的長度：超過十二公尺，每晚五十歐元。以後當然可以延長停留時間。下雨時請關好門窗，並收聽天氣預報。如有損壞，請告訴南門的看守人。從前漁民在這裡卸下魚筐，清晨把蝦、比目魚和燻鰻魚賣給旅店的廚師。`,
  },
  Japanese: {
    encodings: ['shift_jis', 'euc-jp'],
    text: `港長は毎日、潮がいつ満ちていつ引くかを書きとめます。春の嵐のあいだ、大きな船は風が弱まるまで防波堤の外で待たなければなりません。事務所の向かいには、お客様のための屋根つきの場所があります。料金は長さによって決まり、十二メートルを超えると一泊五十ユーロです。あとで滞在を延ばすこともできます。雨のときはドアと窓を閉め、天気予報を聞いてください。破損は南門の番人に知らせます。昔は漁師がここで籠をおろし、早朝に海老やカレイ、燻製のうなぎを料理人に売っていました。`,
  },
  Korean: {
    encodings: ['euc-kr', 'cp949'],
    text: `항구 관리인은 매일 물이 언제 들어오고 언제 나가는지 적습니다. 봄에 폭풍이 불면 큰 배는 바람이 약해질 때까지 방파제 밖에서 기다려야 합니다. 손님을 위해 사무실 맞은편에 지붕이 있는 자리가 있습니다. 요금은 길이에 따라 다르며, 십이 미터가 넘으면 하룻밤에 오십 유로입니다. 나중에 머무는 기간을 늘릴 수 있습니다. 비가 오면 문과 창문을 닫고 일기 예보를 들으십시오. 파손된 곳은 남쪽 문의 경비원에게 알립니다.`,
  },
  Thai: {
    encodings: ['windows-874'],
    text: `นายท่าเรือจดบันทึกทุกวันว่าน้ำขึ้นและน้ำลงเมื่อใด ในช่วงพายุฤดูใบไม้ผลิ เรือใหญ่ต้องรออยู่นอกเขื่อนกันคลื่นจนกว่าลมจะเบาลง สำหรับผู้มาเยือนมีที่พักมีหลังคาอยู่ตรงข้ามสำนักงาน ค่าธรรมเนียมขึ้นอยู่กับความยาว เกินสิบสองเมตรคืนละห้าสิบยูโร ต่อมาท่านสามารถขยายเวลาได้ โปรดปิดประตูและหน้าต่างเมื่อฝนตก และฟังพยากรณ์อากาศ`,
  },
}
